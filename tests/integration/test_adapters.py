"""Every task over gRPC and a real Triton: small random networks, and tools that are formulas."""

import asyncio

import grpc
import numpy as np
import pytest

from imagegen.v1 import generation_pb2 as pb
from tests.integration.pictures import box_mask, decode, encode, scene
from tests.integration.tasks import MASK, SCENE, TASKS, Served, given, refusal, request

STEPS = {"image_to_image": 2, "control": 2, "upscale": 1, "edit": 0}
"""Of 4: by strength 0.5; by 1 - 0.6 * 0.5; by fidelity 5, 0.35; none. Outpainting starts from the picture's border."""


PAINTS = {"tiny_text_encoder", "tiny_vae_decoder"}
PLAIN, STEERED = {*PAINTS, "adapters_unet"}, {*PAINTS, "adapters_controlled_unet"}
ENCODED = {"adapters_vae_encoder"}
TOOK_PART = {
    "text_to_image": PLAIN,
    "image_to_image": STEERED | ENCODED,
    "inpaint": PLAIN | ENCODED,
    "generate_background": PLAIN | ENCODED | {"formula_matting"},
    "face": STEERED | {"adapters_image_encoder", "formula_face_detector", "formula_face_landmarks"},
    "control": STEERED | ENCODED,
    "upscale": PLAIN | ENCODED,
    "outpaint": PLAIN | ENCODED,
    "edit": set(),
}
"""The models of each task: 96 x 64 pixels of that size need no upscaler."""


@pytest.mark.parametrize("task", [*TASKS])
async def test_a_task(adapters: Served, task: str) -> None:
    """A picture of the asked size, and events in the schema's order."""
    seen = await adapters[1].generate(request(task, request_id="r-1"))
    assert decode(seen.data).shape[:2] == (64, 96)
    assert (seen.artifact.width, seen.artifact.height, seen.artifact.seed) == (96, 64, 7)
    assert seen.kinds()[:2] == ["queued", "started"]
    stages = [event.progress.stage for event in seen.events if event.HasField("progress")]
    picture = [] if task == "text_to_image" else [pb.STAGE_PREPARE]
    paints = task != "edit"
    steps = stages.count(pb.STAGE_DENOISE)
    assert stages == [
        *picture,
        *([pb.STAGE_ENCODE, *[pb.STAGE_DENOISE] * steps, pb.STAGE_DECODE] if paints else []),
        pb.STAGE_FINISH,
    ]
    assert steps == seen.artifact.steps
    assert steps == STEPS.get(task, steps)
    assert seen.artifact.HasField("sampler") is paints
    assert {model.model for model in seen.artifact.models} == TOOK_PART[task]
    assert [timing.stage for timing in seen.artifact.timings] == list(dict.fromkeys(stages))
    started = next(event.started for event in seen.events if event.HasField("started"))
    assert (started.seed, started.request_id) == (7, "r-1")
    assert ((started.network_width, started.network_height) == (0, 0)) is not paints
    steered = task in {"image_to_image", "control"}
    assert (started.HasField("edges_low_threshold"), started.HasField("edges_high_threshold")) == (steered, steered)


async def test_the_same_seed_gives_the_same_bytes_alone_and_among_all_other_tasks(adapters: Served) -> None:
    """Rows of different tasks share batches, and none changes another by a bit."""
    client = adapters[1]
    alone = {task: (await client.generate(request(task))).data for task in TASKS}
    together = await asyncio.gather(*(client.generate(request(task)) for task in TASKS))
    assert {task: seen.data for task, seen in zip(TASKS, together, strict=True)} == alone
    assert len(set(alone.values())) == len(alone)


async def test_skipped_steps_are_the_same_whoever_shares_the_batches(adapters: Served) -> None:
    """A request extrapolates from its own steps alone, however many rows its company has."""
    client = adapters[1]

    def asked(task: str, tolerance: float) -> pb.GenerateRequest:
        message = request(task, skip_tolerance=tolerance)
        message.steps = 16
        return message

    tolerances = {"text_to_image": 0.5, "image_to_image": 1.0, "inpaint": 0.2, "control": 0.8}
    alone = {task: await client.generate(asked(task, tolerance)) for task, tolerance in tolerances.items()}
    crowd = [asked(task, tolerance) for task, tolerance in tolerances.items()]
    crowd += [asked(task, 0.0) for task in tolerances]
    together = await asyncio.gather(*(client.generate(each) for each in crowd))
    for task, seen in zip(tolerances, together, strict=False):
        assert seen.data == alone[task].data
        assert seen.artifact.skipped_steps == alone[task].artifact.skipped_steps
        assert seen.artifact.skip_tolerance == tolerances[task]
    assert any(seen.artifact.skipped_steps for seen in together)
    assert not any(seen.artifact.HasField("skip_tolerance") for seen in together[len(tolerances) :])


@pytest.mark.parametrize("task", ["image_to_image", "inpaint", "generate_background", "control", "edit"])
async def test_a_picture_keeps_its_size_when_none_is_asked_for(adapters: Served, task: str) -> None:
    picture, mask = given(encode(scene(75, 101))), given(encode(box_mask(75, 101, 20, 20, 50, 50)))
    message = type(TASKS[task])(image=picture, **({"mask": mask} if task == "inpaint" else {}))
    wanted = request(message)
    wanted.ClearField("size")
    seen = await adapters[1].generate(wanted)
    assert decode(seen.data).shape[:2] == (101, 75)


async def test_what_is_not_masked_stays_as_it_is(adapters: Served) -> None:
    """Bit for bit outside the mask; inside it something is painted."""
    before, mask = scene(), decode(MASK)[..., 0] > 0
    after = decode((await adapters[1].generate(request("inpaint"))).data)
    assert np.array_equal(after[~mask], before[~mask])
    assert np.abs(after[mask].astype(int) - before[mask]).mean() > 10


async def test_an_object_is_kept_before_its_new_background(adapters: Served) -> None:
    """Where no size is asked for it stays in its place: the disc's inside, bit for bit; the sky far from it is new."""
    before, wanted = scene(), request("generate_background")
    wanted.ClearField("size")
    after = decode((await adapters[1].generate(wanted)).data)[..., :3]
    rows, columns = np.mgrid[:64, :96]
    distance = np.hypot(rows - 32, columns - 48)
    inside, outside = distance < 64 // 3 - 4, distance > 64 // 3 + 12
    assert np.array_equal(after[inside], before[inside])
    assert np.abs(after[outside].astype(int) - before[outside]).mean() > 5


async def test_a_picture_is_continued_beyond_its_borders(adapters: Served) -> None:
    """The old picture is in the middle of the new one; near its border it fades."""
    before = scene(60, 60)
    wanted = request(pb.Outpaint(image=given(encode(before))))
    after = decode((await adapters[1].generate(wanted)).data)
    assert np.array_equal(after[10:54, 26:70], before[8:52, 8:52])


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ("face", "face.image: needs a picture with a face"),
        ("generate_background", "generate_background.image: needs a picture with an object"),
        ("edit", "background.remove: needs a picture with an object"),
    ],
)
async def test_what_is_not_in_the_picture_is_missed_clearly(adapters: Served, task: str, words: str) -> None:
    """FAILED_PRECONDITION, with the field."""
    empty = given(encode(np.full((64, 96, 3), 200, np.uint8)))
    background = pb.Background(remove=pb.REMOVAL_AUTO) if task == "edit" else pb.Background()
    error = await refusal(adapters[1], request(type(TASKS[task])(image=empty), background=background))
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert str(error.details()).startswith(words)


async def test_the_edges_are_those_that_were_asked_for(adapters: Served) -> None:
    edges = pb.Edges(scale=0.5, low_threshold=40.0, high_threshold=90.5)
    seen = await adapters[1].generate(request(pb.Control(image=given(SCENE), edges=edges)))
    started = next(event.started for event in seen.events if event.HasField("started"))
    assert (started.edges_low_threshold, started.edges_high_threshold) == (40.0, 90.5)


async def test_previews_of_a_task_from_a_picture(adapters: Served) -> None:
    seen = await adapters[1].generate(request("control", preview_interval=2))
    assert [event.preview.step for event in seen.events if event.HasField("preview")] == [2]
