"""Sizes, fits and paddings as clients write them."""

from typing import Any

import pytest

from gateway.errors import BadRequestError
from imagegen.v1 import generation_pb2 as pb
from tests.unit.gateway.asking import URL, edited, from_picture, from_text, warnings


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"width": 1000}, pb.Size(width=1000)),
        ({"height": "1920"}, pb.Size(height=1920)),
        ({"width": "200%"}, pb.Size(width_percent=200)),
        ({"width": "200 %", "height": 64.0}, pb.Size(width_percent=200, height=64)),
        ({"height": "50.0%"}, pb.Size(height_percent=50)),
        ({"min_length": "300"}, pb.Size(min_length=300)),
        ({"width": 0}, pb.Size(width=0)),
        ({"width": None, "height": "", "min_length": 0}, pb.Size()),
    ],
)
def test_a_size(asked: dict[str, Any], expected: pb.Size) -> None:
    found = edited(**asked)
    assert found.size == expected
    assert found.HasField("size") == bool(expected.ListFields())


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"fit": "crop"}, pb.Layout(fit=pb.FIT_CROP)),
        ({"fit": " Bounds "}, pb.Layout(fit=pb.FIT_BOUNDS)),
        ({"fit": "cover"}, pb.Layout(fit=pb.FIT_COVER)),
        ({"fit": {"crop": "content"}}, pb.Layout(fit=pb.FIT_CROP, gravity=pb.CROP_GRAVITY_CONTENT)),
        ({"fit": {"crop": "item"}}, pb.Layout(fit=pb.FIT_CROP, gravity=pb.CROP_GRAVITY_ITEM)),
        ({"fit": {"crop": "center", "canvas": None}}, pb.Layout(fit=pb.FIT_CROP, gravity=pb.CROP_GRAVITY_CENTER)),
        ({"padding": 20}, pb.Layout(padding_pixels=20)),
        ({"padding": "5%"}, pb.Layout(padding_share=0.05)),
        ({"padding": "2.5 %", "fit": "canvas"}, pb.Layout(padding_share=0.025)),
        ({"padding": 20, "fit": {"canvas": "outpainting"}}, pb.Layout(padding_pixels=20)),
    ],
)
def test_a_layout(asked: dict[str, Any], expected: pb.Layout) -> None:
    assert edited(**asked).layout == expected


@pytest.mark.parametrize(
    "harmless",
    [{"fit": "canvas"}, {"fit": {}}, {"fit": {"crop": ""}}, {"padding": 0}, {"padding": "0%"}, {"fit": None}],
)
def test_defaults_change_nothing(harmless: dict[str, Any]) -> None:
    assert edited(**harmless) == edited()
    assert from_picture("face", **harmless) == from_picture("face")
    assert from_text(**harmless) == from_text()


@pytest.mark.parametrize(
    "fit",
    [
        "stretch",
        "outpainting",
        7,
        True,
        ["crop"],
        {"crop": "left"},
        {"crop": ["item"]},
        {"crop": "item", "canvas": "outpainting"},
        {"canvas": "white"},
        {"canvas": True},
        {"cover": "center"},
        {"mode": "crop"},
    ],
)
def test_an_unknown_fit_is_named(fit: object) -> None:
    with pytest.raises(BadRequestError, match=r"^fit must be "):
        edited(fit=fit)


def test_padding_goes_with_the_item_alone() -> None:
    found = edited(fit={"crop": "item"}, padding="10%").layout
    assert found == pb.Layout(fit=pb.FIT_CROP, gravity=pb.CROP_GRAVITY_ITEM, padding_share=0.1)


@pytest.mark.parametrize("fit", ["crop", "bounds", "cover", {"crop": "center"}])
def test_padding_changes_nothing_without_a_canvas(fit: object) -> None:
    assert edited(fit=fit, padding=5) == edited(fit=fit)
    assert warnings({"url": URL, "fit": fit, "padding": 5}) == (
        'padding is not used: it works with a picture (url) and fit canvas or {"crop": "item"}',
    )


@pytest.mark.parametrize(
    ("asked", "start"),
    [
        ({"width": "12.5%"}, "width must be a whole number of percent, not 12.5%"),
        ({"height": "abc"}, "height must be a whole number of pixels"),
        ({"padding": "5px"}, "padding must be a whole number of pixels"),
        ({"padding": -1}, "padding must be a whole number of pixels"),
        ({"min_length": "10%"}, "min_length must be a whole number"),
    ],
)
def test_a_wrong_length_is_named(asked: dict[str, Any], start: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        edited(**asked)
    assert caught.value.body["message"].startswith(start)


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"width": "200%"}, "width"),
        ({"height": "200%"}, "height"),
    ],
)
def test_what_needs_a_picture_is_named_without_one(asked: dict[str, Any], field: str) -> None:
    with pytest.raises(BadRequestError, match=rf"^{field} (in percent )?needs a picture \(url\)"):
        from_text(**asked)


@pytest.mark.parametrize(
    "asked",
    [
        {"min_length": 300},
        {"padding": 5},
        {"padding": "5%"},
        {"fit": "crop"},
        {"fit": {"crop": "center"}},
        {"fit": {"canvas": "outpainting"}},
    ],
)
def test_what_works_on_a_picture_changes_nothing_without_one(asked: dict[str, Any]) -> None:
    assert from_text(**asked) == from_text()
    (warning,) = warnings({"background": {"generate": {"description": "a fox"}}, **asked})
    assert warning.startswith(f"{next(iter(asked))} is not used: ")
