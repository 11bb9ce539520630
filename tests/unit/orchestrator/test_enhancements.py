"""What is made better, and what is laid over: from the schema to params, and each bound from both sides."""

from typing import Any

import pytest

from imagegen.v1 import generation_pb2 as pb
from orchestrator.api import converters
from orchestrator.params import (
    Caption,
    Edit,
    Enhancement,
    EnhancementKind,
    EnhancementMethod,
    HorizontalPlace,
    ImageSource,
    SizeParams,
    TextToImage,
    VerticalPlace,
)
from tests.unit.orchestrator.test_requests import LIMITS, refused, request
from tests.unit.orchestrator.test_task_params import BEYOND, PICTURE, of, violations

LOGO = pb.ImageSource(data=b"logo")
KIND, METHOD = EnhancementKind, EnhancementMethod


def edit(**fields: Any) -> pb.GenerateRequest:
    return pb.GenerateRequest(edit=pb.Edit(image=pb.ImageSource(url="https://pictures.example/a.png")), **fields)


def test_nothing_is_enhanced_or_captioned_unless_asked() -> None:
    params = converters.to_params(request(), LIMITS)
    assert (params.enhancements, params.caption, params.size.reorient) == ((), None, False)


def test_what_is_set_is_used_as_it_is() -> None:
    message = edit(
        size=pb.Size(width=64, height=80, reorient=True),
        enhancements=[
            pb.Enhancement(kind=pb.ENHANCEMENT_KIND_LIGHT, method=pb.ENHANCEMENT_METHOD_HDR_LIGHT, level=0.0),
            pb.Enhancement(kind=pb.ENHANCEMENT_KIND_FACE_ENHANCE, method=pb.ENHANCEMENT_METHOD_BEAUTIFY, smoothing=1.0),
            pb.Enhancement(kind=pb.ENHANCEMENT_KIND_CLEAN),
        ],
        caption=pb.Caption(
            image=LOGO,
            horizontal=pb.HORIZONTAL_PLACE_LEFT,
            vertical=pb.VERTICAL_PLACE_CENTER,
            width_share=1.0,
            padding_pixels=0,
            opacity=0.0,
        ),
    )
    params = converters.to_params(message, LIMITS)
    assert params.size == SizeParams(width=64, height=80, reorient=True)
    assert params.enhancements == (
        Enhancement(kind=KIND.LIGHT, method=METHOD.HDR_LIGHT, level=0.0),
        Enhancement(kind=KIND.FACE_ENHANCE, method=METHOD.BEAUTIFY, smoothing=1.0),
        Enhancement(kind=KIND.CLEAN),
    )
    assert params.caption == Caption(
        image=ImageSource(data=b"logo"),
        horizontal=HorizontalPlace.LEFT,
        vertical=VerticalPlace.CENTER,
        width_share=1.0,
        padding_pixels=0,
        opacity=0.0,
    )
    assert list(params.sources) == ["edit.image", "caption.image"]
    message.caption.padding_share = 0.45
    changed = converters.to_params(message, LIMITS).caption
    assert changed is not None
    assert (changed.padding_pixels, changed.padding_share) == (None, 0.45)


def test_a_bare_caption_has_the_defaults_of_the_schema() -> None:
    params = converters.to_params(request(caption=pb.Caption(image=LOGO)), LIMITS)
    assert params.caption == Caption(
        image=ImageSource(data=b"logo"),
        horizontal=HorizontalPlace.RIGHT,
        vertical=VerticalPlace.BOTTOM,
        width_share=0.25,
        padding_share=0.05,
        opacity=1.0,
    )


@pytest.mark.parametrize(
    ("message", "path"),
    [
        (edit(enhancements=[pb.Enhancement(level=1.0)]), "enhancements[0].kind"),
        (edit(enhancements=[pb.Enhancement(kind=99)]), "enhancements[0].kind"),  # type: ignore[arg-type]  # unknown
        (
            edit(enhancements=[pb.Enhancement(kind=pb.ENHANCEMENT_KIND_CLEAN, method=99)]),  # type: ignore[arg-type]
            "enhancements[0].method",
        ),
        (request(caption=pb.Caption()), "caption.image"),
        (request(caption=pb.Caption(image=pb.ImageSource(data=b""))), "caption.image.data"),
        (request(caption=pb.Caption(image=pb.ImageSource(data=b"x" * 1001))), "caption.image.data"),
        (request(caption=pb.Caption(image=LOGO, horizontal=99)), "caption.horizontal"),  # type: ignore[arg-type]
        (request(caption=pb.Caption(image=LOGO, vertical=99)), "caption.vertical"),  # type: ignore[arg-type]
        (request(caption=pb.Caption(image=LOGO, padding_pixels=2049)), "caption.padding_pixels"),
        (request(caption=pb.Caption(image=LOGO, width_share=0.0)), "caption.width_share"),
        (request(caption=pb.Caption(image=LOGO, opacity=float("nan"))), "caption.opacity"),
    ],
)
def test_what_is_wrong_is_refused_by_its_path(message: pb.GenerateRequest, path: str) -> None:
    assert refused(message) == [path]


@pytest.mark.parametrize("kind", EnhancementKind)
@pytest.mark.parametrize("method", EnhancementMethod)
def test_ways_of_each_kind(kind: EnhancementKind, method: EnhancementMethod) -> None:
    ways = {
        KIND.DENOISE: {METHOD.V1, METHOD.V2},
        KIND.DEBLUR: {METHOD.V1, METHOD.V2},
        KIND.LIGHT: {METHOD.CONTRAST, METHOD.HDR_LIGHT, METHOD.HDR_LIGHT_ADVANCED},
        KIND.COLOR: {METHOD.CONTRAST, METHOD.HDR_LIGHT, METHOD.HDR_LIGHT_ADVANCED},
        KIND.FACE_ENHANCE: {METHOD.BEAUTIFY, METHOD.BEAUTIFY_REAL},
    }
    wrong = violations(of(Edit), enhancements=(Enhancement(kind=kind, method=method),))
    assert wrong == ([] if method in ways.get(kind, ()) else ["enhancements[0].method"])


@pytest.mark.parametrize("kind", EnhancementKind)
def test_levels_and_defaults(kind: EnhancementKind) -> None:
    for level, ok in [(0.0, True), (1.0, True), (BEYOND["low"], False), (BEYOND["high"], False)]:
        wrong = violations(of(Edit), enhancements=(Enhancement(kind=kind, level=level),))
        assert wrong == ([] if ok else ["enhancements[0].level"])
    assert Enhancement(kind=kind, level=0.25).amount == 0.25
    assert Enhancement(kind=kind).amount == (0.5 if kind is KIND.FACE_ENHANCE else 1.0)


def test_smoothing_is_for_faces() -> None:
    faces = Enhancement(kind=KIND.FACE_ENHANCE, method=METHOD.BEAUTIFY, smoothing=0.25)
    assert violations(of(Edit), enhancements=(faces,)) == []
    assert faces.smooth == 0.25
    assert Enhancement(kind=KIND.FACE_ENHANCE, method=METHOD.BEAUTIFY).smooth == 0.5
    for each in (
        Enhancement(kind=KIND.FACE_ENHANCE, method=METHOD.BEAUTIFY, smoothing=1.01),
        Enhancement(kind=KIND.CLEAN, smoothing=0.5),
    ):
        assert violations(of(Edit), enhancements=(each,)) == ["enhancements[0].smoothing"]
    assert Enhancement(kind=KIND.FACE_ENHANCE).smooth == 0
    real = Enhancement(kind=KIND.FACE_ENHANCE, method=METHOD.BEAUTIFY_REAL, smoothing=0.5)
    assert violations(of(Edit), enhancements=(real,)) == []
    assert real.smooth == 0.5


def test_each_kind_once_and_from_a_picture() -> None:
    twice = (Enhancement(kind=KIND.CLEAN), Enhancement(kind=KIND.LIGHT), Enhancement(kind=KIND.CLEAN))
    assert violations(of(Edit), enhancements=twice) == ["enhancements[2].kind"]
    both = (Enhancement(kind=KIND.FACE_ENHANCE), Enhancement(kind=KIND.CLEAN))
    assert violations(TextToImage(), enhancements=both) == ["enhancements[1].kind"]
    assert violations(of(Edit), enhancements=both) == []


def test_bounds_of_a_caption() -> None:
    for name, least, most in [("width_share", 0.01, 1), ("padding_share", 0, 0.45), ("opacity", 0, 1)]:
        for value, ok in [(least, True), (most, True), (-0.01, False), (most + 0.01, False)]:
            caption: dict[str, Any] = {"image": PICTURE, name: value}
            wrong = violations(TextToImage(), caption=Caption(**caption))
            assert wrong == ([] if ok else [f"caption.{name}"])


def test_reorienting_needs_both_sides_and_a_picture() -> None:
    assert violations(of(Edit), size=SizeParams(width=64, height=80, reorient=True)) == []
    for size in (SizeParams(width=64, reorient=True), SizeParams(height_percent=100, width=64, reorient=True)):
        assert violations(of(Edit), size=size) == ["size.reorient"]
    assert violations(TextToImage(), size=SizeParams(width=64, height=80, reorient=True)) == ["size.reorient"]
