"""Protobuf to params: presence, ranges by path, enums."""

import math
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor

from imagegen.v1 import generation_pb2 as pb
from orchestrator.api import converters
from orchestrator.errors import InvalidRequestError, UnsupportedTaskError
from orchestrator.models.families import Families
from orchestrator.params import (
    BackgroundParams,
    Color,
    CropGravity,
    Delivery,
    Fit,
    ImageFormat,
    ImageSource,
    JobOptions,
    LayoutParams,
    Limits,
    OutputParams,
    Priority,
    Removal,
    SamplerName,
    SizeParams,
)
from tests.unit.orchestrator.world import build

LIMITS = Limits(max_pixels=1000 * 1000, max_input_bytes=1000)


def request(**fields: Any) -> pb.GenerateRequest:
    return pb.GenerateRequest(text_to_image=pb.TextToImage(), **{"prompt": "a red house", **fields})


def refused(message: pb.GenerateRequest) -> list[str]:
    """Paths of the fields for which a request is refused."""
    try:
        converters.to_params(message, LIMITS)
        converters.to_options(message, "drawn")
    except InvalidRequestError as error:
        return [violation.field for violation in error.violations]
    return []


def test_what_is_not_set_takes_the_default() -> None:
    params = converters.to_params(request(), LIMITS)
    assert (params.prompt, params.negative_prompt, params.limits) == ("a red house", "", LIMITS)
    assert (params.family, params.seed) == (None, None)
    assert (params.size, params.layout, params.background) == (SizeParams(), LayoutParams(), BackgroundParams())
    assert (params.sampler, params.steps, params.guidance_scale) == (None, None, None)
    assert params.output == OutputParams()
    assert params.preview_interval == 0
    assert converters.to_options(request(), "drawn") == JobOptions(request_id="drawn")


def test_what_is_set_is_used_as_it_is() -> None:
    message = request(
        negative_prompt="blur",
        family="fantasy",
        size=pb.Size(width=640, height=480),
        seed=2**63 - 1,
        sampler=pb.SAMPLER_DPMPP_2M_KARRAS,
        steps=150,
        guidance_scale=0.0,
        output=pb.Output(format=pb.IMAGE_FORMAT_WEBP, quality=0, max_file_size=50_000, delivery=pb.DELIVERY_URI),
        priority=pb.PRIORITY_LOW,
        request_id="mine",
        preview_interval=5,
        detach_on_disconnect=True,
    )
    params = converters.to_params(message, LIMITS)
    assert (params.negative_prompt, params.family) == ("blur", "fantasy")
    assert (params.size, params.seed) == (SizeParams(width=640, height=480), 2**63 - 1)
    assert (params.sampler, params.steps, params.guidance_scale) == (SamplerName.DPMPP_2M_KARRAS, 150, 0.0)
    assert params.output == OutputParams(
        format=ImageFormat.WEBP, quality=0, max_file_size=50_000, delivery=Delivery.URI
    )
    assert params.preview_interval == 5
    assert converters.to_options(message, "drawn") == JobOptions(
        request_id="mine", priority=Priority.LOW, detach_on_disconnect=True
    )


@pytest.mark.parametrize(
    ("message", "path"),
    [
        (request(prompt=""), "prompt"),
        (pb.GenerateRequest(text_to_image=pb.TextToImage()), "prompt"),
        (request(size=pb.Size(width=0)), "size.width"),
        (request(size=pb.Size(height=63)), "size.height"),
        (request(size=pb.Size(width=10**9, height=64)), "size.width"),
        (request(seed=2**63), "seed"),
        (request(steps=0), "steps"),
        (request(steps=10_000), "steps"),
        (request(guidance_scale=float("nan")), "guidance_scale"),
        (request(output=pb.Output(quality=101)), "output.quality"),
        (request(output=pb.Output(dpi=0)), "output.dpi"),
        (request(output=pb.Output(dpi=2401)), "output.dpi"),
        (request(output=pb.Output(format=pb.IMAGE_FORMAT_JPEG, max_file_size=0)), "output.max_file_size"),
        (request(preview_interval=151), "preview_interval"),
        (request(request_id=""), "request_id"),
        (request(deadline_seconds=0.0), "deadline_seconds"),
        (request(deadline_seconds=86_400.1), "deadline_seconds"),
        (request(deadline_seconds=math.inf), "deadline_seconds"),
        (request(deadline_seconds=math.nan), "deadline_seconds"),
        (request(size=pb.Size(min_length=64)), "size.min_length"),
        (request(layout=pb.Layout(padding_pixels=2049)), "layout.padding_pixels"),
        (request(layout=pb.Layout(padding_share=0.46)), "layout.padding_share"),
        (request(background=pb.Background(color=pb.Color())), "background.color"),
        (request(background=pb.Background(color=pb.Color(auto=False))), "background.color"),
        (request(background=pb.Background(replace=pb.ImageSource())), "background.replace"),
        (request(background=pb.Background(replace=pb.ImageSource(url=""))), "background.replace.url"),
    ],
)
def test_what_is_set_and_out_of_range_is_refused_by_its_path(message: pb.GenerateRequest, path: str) -> None:
    """Also zero and empty: they are set, and not taken for a default."""
    assert refused(message) == [path]


def test_an_empty_family_is_a_name_and_not_the_default(tmp_path: Path) -> None:
    params = converters.to_params(request(family=""), LIMITS)
    assert params.family == ""
    with pytest.raises(InvalidRequestError):
        Families.load(build(tmp_path).folder.parent / "families.toml").get(params.family)


def test_layout_size_and_background_are_used_as_they_are() -> None:
    message = request(
        size=pb.Size(width_percent=1, height=64, min_length=4096),
        layout=pb.Layout(fit=pb.FIT_CROP, gravity=pb.CROP_GRAVITY_ITEM, padding_pixels=0),
        background=pb.Background(
            remove=pb.REMOVAL_HUMAN, color=pb.Color(rgba=0x01020304), replace=pb.ImageSource(data=b"x")
        ),
    )
    message.edit.image.url = "https://pictures.example/a.png"
    params = converters.to_params(message, LIMITS)
    assert params.size == SizeParams(width_percent=1, height=64, min_length=4096)
    assert params.layout == LayoutParams(fit=Fit.CROP, gravity=CropGravity.ITEM, padding_pixels=0)
    assert params.background == BackgroundParams(
        remove=Removal.HUMAN, color=Color(1, 2, 3, 4), replace=ImageSource(data=b"x")
    )
    message.background.color.auto = True
    message.size.height_percent = 3200
    message.size.ClearField("height")
    message.layout.fit = pb.FIT_CANVAS
    message.layout.padding_share = 0.25
    params = converters.to_params(message, LIMITS)
    assert params.background.color == Color(auto=True)
    assert (params.size.height, params.size.height_percent) == (None, 3200)
    assert (params.layout.padding_pixels, params.layout.padding_share) == (None, 0.25)


def test_a_request_without_a_task_is_refused() -> None:
    assert refused(pb.GenerateRequest(prompt="x")) == ["task"]


def test_a_task_of_a_newer_schema_differs_from_none_at_all() -> None:
    """Field 99, a message: what a newer client's oneof looks like here."""
    newer = pb.GenerateRequest.FromString(pb.GenerateRequest(prompt="x").SerializeToString() + b"\x9a\x06\x00")
    with pytest.raises(UnsupportedTaskError, match=r"it knows text_to_image, .*, face_swap$"):
        converters.to_params(newer, LIMITS)


def test_a_field_of_a_newer_schema_next_to_a_known_task_changes_nothing() -> None:
    newer = pb.GenerateRequest.FromString(request().SerializeToString() + b"\x9a\x06\x00")
    assert converters.to_params(newer, LIMITS) == converters.to_params(request(), LIMITS)


def test_paths_in_errors_are_paths_of_the_schema() -> None:
    """Every field that params.py can refuse, walked down the descriptors."""
    message = request(
        prompt=" ",
        negative_prompt="x" * 100_001,
        size=pb.Size(width=1, height=1),
        seed=2**64 - 1,
        steps=0,
        guidance_scale=-1,
        preview_interval=999,
        output=pb.Output(quality=999, max_file_size=1),
    )
    paths = refused(message)
    assert len(set(paths)) == 10
    for path in paths:
        descriptor: Descriptor | None = pb.GenerateRequest.DESCRIPTOR
        for part in path.split("."):
            assert descriptor is not None
            descriptor = descriptor.fields_by_name[part].message_type


def test_drawn_request_ids_have_the_form_of_one() -> None:
    drawn = {converters.new_request_id() for _ in range(100)}
    assert len(drawn) == 100
    for request_id in drawn:
        assert JobOptions(request_id=request_id).request_id == request_id
