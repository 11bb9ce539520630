"""Protobuf to params: presence, ranges by path, enums."""

from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from imagegen.v1 import generation_pb2 as pb
from imagegen.v1 import jobs_pb2
from orchestrator.api import converters
from orchestrator.errors import InvalidRequestError
from orchestrator.models.families import Families
from orchestrator.params import Delivery, ImageFormat, JobOptions, OutputParams, Priority, SamplerName
from tests.unit.orchestrator.world import build

PIXELS = 4096 * 4096


def request(**fields: Any) -> pb.GenerateRequest:
    return pb.GenerateRequest(text_to_image=pb.TextToImage(), **{"prompt": "a red house", **fields})


def refused(message: pb.GenerateRequest) -> list[str]:
    """Paths of the fields for which a request is refused."""
    try:
        converters.to_params(message, PIXELS)
        converters.to_options(message, "drawn")
    except InvalidRequestError as error:
        return [violation.field for violation in error.violations]
    return []


def test_what_is_not_set_takes_the_default() -> None:
    params = converters.to_params(request(), PIXELS)
    assert (params.prompt, params.negative_prompt, params.max_pixels) == ("a red house", "", PIXELS)
    open_fields = (params.family, params.width, params.height, params.seed)
    assert open_fields == (None, None, None, None)
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
    params = converters.to_params(message, PIXELS)
    assert (params.negative_prompt, params.family) == ("blur", "fantasy")
    assert (params.width, params.height, params.seed) == (640, 480, 2**63 - 1)
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
        (request(output=pb.Output(format=pb.IMAGE_FORMAT_JPEG, max_file_size=0)), "output.max_file_size"),
        (request(preview_interval=151), "preview_interval"),
        (request(request_id=""), "request_id"),
    ],
)
def test_what_is_set_and_out_of_range_is_refused_by_its_path(message: pb.GenerateRequest, path: str) -> None:
    """Also zero and empty: they are set, and not taken for a default."""
    assert refused(message) == [path]


def test_an_empty_family_is_a_name_and_not_the_default(tmp_path: Path) -> None:
    params = converters.to_params(request(family=""), PIXELS)
    assert params.family == ""
    with pytest.raises(InvalidRequestError):
        Families.load(build(tmp_path).folder.parent / "families.toml").get(params.family)


def test_a_request_without_a_task_is_refused() -> None:
    assert refused(pb.GenerateRequest(prompt="x")) == ["task"]


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


def test_every_field_of_the_schema_has_presence() -> None:
    fields = [*all_fields(pb.DESCRIPTOR), *all_fields(jobs_pb2.DESCRIPTOR)]
    assert len(fields) > 70
    assert [f.full_name for f in fields if not f.is_repeated and not f.has_presence] == []


def all_fields(file: Any) -> Iterator[FieldDescriptor]:
    for message in file.message_types_by_name.values():
        yield from message.fields


TABLES: list[tuple[Any, dict[Any, Any]]] = [
    (pb.Sampler, converters.SAMPLERS),
    (pb.ImageFormat, converters.FORMATS),
    (pb.Delivery, converters.DELIVERIES),
    (pb.Priority, converters.PRIORITIES),
    (pb.Stage, converters.STAGES),
    (jobs_pb2.JobState, converters.STATES),
]


@pytest.mark.parametrize(("enum", "table"), TABLES, ids=lambda value: getattr(value, "DESCRIPTOR", value))
def test_every_number_of_an_enum_has_its_name_and_back(enum: Any, table: dict[StrEnum, int]) -> None:
    descriptor: EnumDescriptor = enum.DESCRIPTOR
    assert sorted(table.values()) == sorted(number for number in enum.values() if number)
    prefix = "".join(f"_{c}" if c.isupper() else c.upper() for c in descriptor.name).lstrip("_")
    for name, number in table.items():
        assert enum.Name(number) == f"{prefix}_{name.name}"


CHOICES: list[
    tuple[str, dict[Any, Any], Callable[[pb.GenerateRequest, int], None], Callable[[pb.GenerateRequest], Any]]
]
CHOICES = [
    (
        "sampler",
        converters.SAMPLERS,
        lambda message, number: setattr(message, "sampler", number),
        lambda message: converters.to_params(message, PIXELS).sampler,
    ),
    (
        "output.format",
        converters.FORMATS,
        lambda message, number: setattr(message.output, "format", number),
        lambda message: converters.to_params(message, PIXELS).output.format,
    ),
    (
        "output.delivery",
        converters.DELIVERIES,
        lambda message, number: setattr(message.output, "delivery", number),
        lambda message: converters.to_params(message, PIXELS).output.delivery,
    ),
    (
        "priority",
        converters.PRIORITIES,
        lambda message, number: setattr(message, "priority", number),
        lambda message: converters.to_options(message, "drawn").priority,
    ),
]


@pytest.mark.parametrize(("path", "table", "put", "get"), CHOICES, ids=[path for path, *_ in CHOICES])
def test_choices(
    path: str,
    table: dict[Any, Any],
    put: Callable[[pb.GenerateRequest, int], None],
    get: Callable[[pb.GenerateRequest], Any],
) -> None:
    """Each number gives its name; 0 is "not chosen"; a number that the schema lacks is refused by its path."""
    for name, number in table.items():
        message = request()
        put(message, number)
        assert get(message) is name
    unset, zero = request(), request()
    put(zero, 0)
    assert get(zero) == get(unset)
    for number in (max(table.values()) + 1, -1, 2**31 - 1):
        message = request()
        put(message, number)
        assert refused(message) == [path]


def test_drawn_request_ids_have_the_form_of_one() -> None:
    drawn = {converters.new_request_id() for _ in range(100)}
    assert len(drawn) == 100
    for request_id in drawn:
        assert JobOptions(request_id=request_id).request_id == request_id
