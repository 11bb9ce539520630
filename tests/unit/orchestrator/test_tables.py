"""Enums of the schema and names of the params: each has its other, and every field has presence."""

from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Any

import pytest
from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor

from imagegen.v1 import generation_pb2 as pb
from imagegen.v1 import jobs_pb2
from orchestrator.api import converters
from tests.unit.orchestrator.test_requests import LIMITS, refused, request


def test_every_field_of_the_schema_has_presence() -> None:
    fields = [*all_fields(pb.DESCRIPTOR), *all_fields(jobs_pb2.DESCRIPTOR)]
    assert len(fields) > 110
    assert [f.full_name for f in fields if not f.is_repeated and not f.has_presence] == []


def all_fields(file: Any) -> Iterator[FieldDescriptor]:
    for message in file.message_types_by_name.values():
        yield from message.fields


TABLES: list[tuple[Any, dict[Any, Any]]] = [
    (pb.Sampler, converters.SAMPLERS),
    (pb.ImageFormat, converters.FORMATS),
    (pb.Delivery, converters.DELIVERIES),
    (pb.Priority, converters.PRIORITIES),
    (pb.Fit, converters.FITS),
    (pb.CropGravity, converters.GRAVITIES),
    (pb.Removal, converters.REMOVALS),
    (pb.EnhancementKind, converters.KINDS),
    (pb.EnhancementMethod, converters.METHODS),
    (pb.HorizontalPlace, converters.HORIZONTAL),
    (pb.VerticalPlace, converters.VERTICAL),
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
        lambda message: converters.to_params(message, LIMITS).sampler,
    ),
    (
        "output.format",
        converters.FORMATS,
        lambda message, number: setattr(message.output, "format", number),
        lambda message: converters.to_params(message, LIMITS).output.format,
    ),
    (
        "output.delivery",
        converters.DELIVERIES,
        lambda message, number: setattr(message.output, "delivery", number),
        lambda message: converters.to_params(message, LIMITS).output.delivery,
    ),
    (
        "layout.fit",
        converters.FITS,
        lambda message, number: setattr(message.layout, "fit", number),
        lambda message: converters.to_params(message, LIMITS).layout.fit,
    ),
    (
        "layout.gravity",
        converters.GRAVITIES,
        lambda message, number: setattr(message.layout, "gravity", number),
        lambda message: converters.to_params(message, LIMITS).layout.gravity,
    ),
    (
        "background.remove",
        converters.REMOVALS,
        lambda message, number: setattr(message.background, "remove", number),
        lambda message: converters.to_params(message, LIMITS).background.remove,
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
