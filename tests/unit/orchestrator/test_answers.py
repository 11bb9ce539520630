"""Events and families to protobuf: every field, pictures in chunks."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from imagegen.v1 import generation_pb2 as pb
from orchestrator.api import converters
from orchestrator.diffusion.stages import Stage, StageTime
from orchestrator.generation.events import Artifact, Event, Preview, Progress, Queued, Started
from orchestrator.generation.job import Job
from orchestrator.models.source import ModelDigest
from orchestrator.params import Guidance, GuidanceMethod, ImageFormat, SamplerName
from orchestrator.results.buckets import CHUNK_BYTES
from tests.unit.orchestrator.world import FAMILIES, build

ARTIFACT = Artifact(
    data=b"x",
    uri=None,
    file_size=1,
    format=ImageFormat.JPEG,
    quality=0,
    width=640,
    height=480,
    seed=2**63 - 1,
    family="small",
    sampler=SamplerName.LCM,
    steps=4,
    models=(ModelDigest("unet", "ab", "openvino f32"), ModelDigest("vae", "", "")),
    timings=(StageTime(Stage.ENCODE, 0.5, 1), StageTime(Stage.FINISH, 0.25, 0)),
)


def convert(job: Job, event: Event) -> list[pb.GenerateEvent]:
    return list(converters.from_event(job.id, "r", 9, event))


def test_queued(job: Job) -> None:
    (message,) = convert(job, Queued(0, 0.0))
    assert message == pb.GenerateEvent(
        sequence=9, queued=pb.Queued(job_id=job.id, position=0, estimated_wait_seconds=0.0)
    )
    assert message.queued.HasField("position")


def test_started(job: Job) -> None:
    (message,) = convert(job, Started(seed=0, network_width=192, network_height=96, prompt_tokens_cut=3))
    started = pb.Started(request_id="r", seed=0, network_width=192, network_height=96, prompt_tokens_cut=3)
    assert message == pb.GenerateEvent(sequence=9, started=started)


def test_started_with_edges(job: Job) -> None:
    (message,) = convert(job, Started(0, 192, 96, 0, edges=(0.0, 120.5)))
    assert message.started.HasField("edges_low_threshold")
    assert (message.started.edges_low_threshold, message.started.edges_high_threshold) == (0.0, 120.5)


@pytest.mark.parametrize("stage", [*Stage])
def test_progress(job: Job, stage: Stage) -> None:
    (message,) = convert(job, Progress(stage, 2, 20))
    assert message == pb.GenerateEvent(
        sequence=9, progress=pb.Progress(stage=converters.STAGES[stage], step=2, total=20)
    )


def test_preview(job: Job) -> None:
    (message,) = convert(job, Preview(b"jpeg", 5))
    assert message == pb.GenerateEvent(sequence=9, preview=pb.Preview(jpeg=b"jpeg", step=5))


@pytest.mark.parametrize(
    ("size", "chunks"),
    [
        (0, [0]),  # still one message: a client waits for last_chunk
        (1, [1]),
        (CHUNK_BYTES - 1, [CHUNK_BYTES - 1]),
        (CHUNK_BYTES, [CHUNK_BYTES]),
        (CHUNK_BYTES + 1, [CHUNK_BYTES, 1]),
        (2 * CHUNK_BYTES, [CHUNK_BYTES, CHUNK_BYTES]),
        (3 * CHUNK_BYTES + 7, [CHUNK_BYTES, CHUNK_BYTES, CHUNK_BYTES, 7]),
    ],
)
def test_a_picture_comes_in_chunks(job: Job, size: int, chunks: list[int]) -> None:
    data = bytes(np.random.default_rng(0).integers(0, 256, size, np.uint8))
    messages = convert(job, replace(ARTIFACT, data=data, file_size=size))
    assert [len(m.artifact.data) for m in messages] == chunks
    assert b"".join(m.artifact.data for m in messages) == data
    assert [m.artifact.last_chunk for m in messages] == [False] * (len(chunks) - 1) + [True]
    assert {m.sequence for m in messages} == {9}
    assert messages[0].artifact.file_size == size
    for message in messages:
        assert message.artifact.WhichOneof("content") == "data"
        assert message.artifact.HasField("last_chunk")
    for message in messages[1:]:
        assert {field.name for field, _ in message.artifact.ListFields()} == {"data", "last_chunk"}


def test_all_that_is_known_of_a_picture(job: Job) -> None:
    (message,) = convert(job, ARTIFACT)
    assert message.artifact == pb.Artifact(
        data=b"x",
        last_chunk=True,
        file_size=1,
        format=pb.IMAGE_FORMAT_JPEG,
        width=640,
        height=480,
        seed=2**63 - 1,
        request_id="r",
        family="small",
        models=[
            pb.ModelDigest(model="unet", model_sha256="ab", engine="openvino f32"),
            pb.ModelDigest(model="vae", model_sha256="", engine=""),
        ],
        timings=[
            pb.StageTiming(stage=pb.STAGE_ENCODE, seconds=0.5, calls=1),
            pb.StageTiming(stage=pb.STAGE_FINISH, seconds=0.25, calls=0),
        ],
        sampler=pb.SAMPLER_LCM,
        steps=4,
        quality=0,
        guidance_scale=1.0,
        guidance=pb.Guidance(start=0, end=1, rescale=0, method=pb.GUIDANCE_METHOD_CFG),
    )


def test_png_has_no_quality(job: Job) -> None:
    (message,) = convert(job, replace(ARTIFACT, format=ImageFormat.PNG, quality=None))
    assert not message.artifact.HasField("quality")


def test_a_picture_that_nothing_painted_has_no_sampler(job: Job) -> None:
    (message,) = convert(job, replace(ARTIFACT, sampler=None, steps=0, models=()))
    assert not message.artifact.HasField("sampler")
    assert message.artifact.HasField("steps")
    (started,) = convert(job, Started(0, 0, 0, 0))
    assert started.started.HasField("network_width")
    assert not started.started.HasField("edges_low_threshold")


def test_a_stored_picture_is_one_message_with_its_uri(job: Job) -> None:
    (message,) = convert(job, replace(ARTIFACT, data=None, uri="http://x/y.png"))
    assert message.artifact.WhichOneof("content") == "uri"
    assert message.artifact.uri == "http://x/y.png"
    assert message.artifact.last_chunk


def test_guidance_is_reported_as_it_was_used(job: Job) -> None:
    apg = Guidance(start=0.1, end=0.6, rescale=0.5, method=GuidanceMethod.APG)
    (message,) = convert(job, replace(ARTIFACT, guidance_scale=4.0, guidance=apg))
    assert message.artifact.guidance_scale == 4
    assert message.artifact.guidance == pb.Guidance(
        start=0.1,
        end=0.6,
        rescale=0.5,
        method=pb.GUIDANCE_METHOD_APG,
        eta=0,
        norm_threshold=15,
        momentum=-0.5,
    )
    (message,) = convert(job, replace(ARTIFACT, sampler=None))
    assert not message.artifact.HasField("guidance")


def test_skipped_steps_are_reported_where_any_might_be(job: Job) -> None:
    timings = (StageTime(Stage.DENOISE, 0.5, 5, skipped=7), StageTime(Stage.FINISH, 0.25, 0))
    for timing, skipped in ((timings, 7), (ARTIFACT.timings, 0)):
        (message,) = convert(job, replace(ARTIFACT, skip_tolerance=0.05, timings=timing))
        assert (message.artifact.skip_tolerance, message.artifact.skipped_steps) == (0.05, skipped)
        assert message.artifact.HasField("skipped_steps")
    for without in (ARTIFACT, replace(ARTIFACT, sampler=None, skip_tolerance=0.05)):
        (message,) = convert(job, without)
        assert not message.artifact.HasField("skip_tolerance")
        assert not message.artifact.HasField("skipped_steps")


@pytest.mark.parametrize("ready", [False, True])
def test_a_family(tmp_path: Path, ready: bool) -> None:
    models = [ModelDigest("small_unet", "00ff", "python f32")] if ready else []
    assert converters.to_family(build(tmp_path).family, models, ready=ready) == pb.Family(
        name="small",
        ready=ready,
        license="MIT",
        tasks=["text_to_image", "edit"],
        network_sizes=[pb.Size(width=32, height=32), pb.Size(width=64, height=32)],
        default_size=pb.Size(width=64, height=96),
        default_sampler=pb.SAMPLER_DDIM,
        default_steps=4,
        default_guidance_scale=2.0,
        samplers=pb.Sampler.values()[1:],
        guidance="classifier_free",
        commercial=True,
        native_size=pb.Size(width=32, height=32),
        models=[pb.ModelDigest(model="small_unet", model_sha256="00ff", engine="python f32")] if ready else [],
        prompt_weights=False,
        max_clip_skip=0,
        max_prompt_tokens=6,
    )


@pytest.mark.parametrize(
    ("kinds", "reported"), [("", ["canny"]), ('control_kinds = ["depth", "scribble"]', ["depth", "scribble"])]
)
def test_a_family_reports_what_may_steer_it(kinds: str, reported: list[str], tmp_path: Path) -> None:
    lines = f'pad_id = 0\nvae_encoder = "v"\ncontrolled_unet = "c"\n{kinds}\n'
    text = FAMILIES.replace("pad_id = 0\n", lines).replace('"MIT"', '"CC-BY-NC-4.0"\ncommercial = false')
    message = converters.to_family(build(tmp_path, families=text).family, [], ready=True)
    assert list(message.control_kinds) == reported
    assert "control" in message.tasks
    assert (message.license, message.commercial) == ("CC-BY-NC-4.0", False)
