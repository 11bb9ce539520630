"""What goes into the database as JSON comes back as it was."""

import json
from dataclasses import replace

import pytest

from orchestrator import errors
from orchestrator.api.status import to_status
from orchestrator.diffusion.stages import Stage, StageTime
from orchestrator.errors import ImagegenError, Violation
from orchestrator.generation.events import Artifact, Event, Preview, Progress, Queued, Started
from orchestrator.jobs.serialization import (
    StoredEvent,
    dump_artifact,
    dump_error,
    dump_event,
    load_artifact,
    load_error,
    load_event,
)
from orchestrator.models.source import ModelDigest
from orchestrator.params import ImageFormat, SamplerName

ARTIFACT = Artifact(
    data=b"\x89PNG",
    uri="storage://mine/ä.webp",
    file_size=4,
    format=ImageFormat.WEBP,
    quality=80,
    width=640,
    height=480,
    seed=2**63 - 1,
    family="starter",
    sampler=SamplerName.DPMPP_2M_KARRAS,
    steps=20,
    models=(ModelDigest("unet", "0f" * 32, "openvino bf16"), ModelDigest("vae", "", "onnx")),
    timings=(StageTime(Stage.PREPARE, 0.125, 0), StageTime(Stage.DENOISE, 1.5, 20)),
)

ERRORS = [
    errors.InvalidRequestError(Violation("size.width", "is too large"), Violation("seed", "is negative")),
    errors.TooManyJobsError(5, 7),
    errors.RateLimitedError("slower", retry_after=12.5),
    errors.NotEnoughCreditsError("no credits"),
    *(
        kind("what went wrong: ü")
        for kind in vars(errors).values()
        if isinstance(kind, type)
        and issubclass(kind, ImagegenError)
        and kind not in {errors.InvalidRequestError, errors.TooManyJobsError}
    ),
]


@pytest.mark.parametrize("artifact", [ARTIFACT, replace(ARTIFACT, uri=None, quality=None, sampler=None, models=())])
def test_an_artifact_comes_back_without_its_bytes(artifact: Artifact) -> None:
    assert load_artifact(dump_artifact(artifact)) == replace(artifact, data=None)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_comes_back_as_the_same_status(error: ImagegenError) -> None:
    again = load_error(dump_error(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert to_status(again, "id") == to_status(error, "id")


def test_an_error_of_a_newer_version_comes_back_as_one() -> None:
    stored = json.dumps({"kind": "TomorrowsError", "message": "who knows", "colour": "red"})
    again = load_error(stored)
    assert type(again) is ImagegenError
    assert str(again) == "who knows"


@pytest.mark.parametrize(
    "event",
    [
        Started(seed=2**40, network_width=64, network_height=96, prompt_tokens_cut=3, edges=(0.1, 0.2)),
        Started(seed=0, network_width=64, network_height=96, prompt_tokens_cut=0),
        Progress(Stage.DENOISE, 3, 8),
        Preview(b"\xff\xd8jpeg", 4),
    ],
    ids=lambda event: type(event).__name__,
)
def test_an_event_comes_back(event: Event) -> None:
    row = dump_event(event)
    assert row is not None
    assert load_event(row) == event


def test_what_is_not_a_row_has_none() -> None:
    assert dump_event(Queued(3, 1.5)) is None
    assert dump_event(ARTIFACT) is None
    assert load_event(StoredEvent("tomorrow", "{}", None)) is None
