"""Ranges of tasks, sizes, layouts and pictures: each boundary from both sides."""

import math
from typing import Any

import pytest

from orchestrator.errors import InvalidRequestError
from orchestrator.params import (
    BackgroundParams,
    Color,
    Control,
    CropGravity,
    EdgesParams,
    Edit,
    Face,
    FaceSwap,
    Fit,
    GenerateBackground,
    ImageSource,
    ImageToImage,
    Inpaint,
    LayoutParams,
    Limits,
    Outpaint,
    Removal,
    RequestParams,
    SizeParams,
    Task,
    TaskName,
    TextToImage,
    Upscale,
)

PICTURE = ImageSource(url="http://pictures.example/a.png")
FROM_PICTURES = (ImageToImage, GenerateBackground, Face, Control, Inpaint, Upscale, Outpaint, Edit, FaceSwap)
BEYOND = {"low": math.nextafter(0, -1), "high": math.nextafter(1, 2)}


def violations(task: Task, **fields: Any) -> list[str]:
    """Paths of what is wrong with a request, in order; empty if nothing is."""
    limits = Limits(max_pixels=1_000_000, max_input_bytes=100)
    try:
        RequestParams(task=task, **{"prompt": "a red house", "limits": limits, **fields})
    except InvalidRequestError as error:
        return [violation.field for violation in error.violations]
    return []


def of(kind: Any, **fields: Any) -> Task:
    """A task of that kind, right but for `fields`."""
    needed: dict[Any, str] = {Inpaint: "mask", FaceSwap: "face"}
    pictures = {needed[kind]: PICTURE} if kind in needed else {}
    made: Task = kind(**{"image": PICTURE, **pictures, **fields})
    return made


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (ImageToImage, "strength"),
        (Inpaint, "strength"),
        (Control, "strength"),
        (GenerateBackground, "item_area"),
    ],
)
def test_shares_above_zero(kind: Any, name: str) -> None:
    path = f"{kind.name}.{name}"
    for value, ok in [(5e-324, True), (1, True), (0, False), (BEYOND["low"], False), (BEYOND["high"], False)]:
        assert violations(of(kind, **{name: value})) == ([] if ok else [path]), value
    for value in (math.nan, math.inf):
        assert violations(of(kind, **{name: value})) == [path]


def test_likeness() -> None:
    for value, ok in [(0, True), (1, True), (BEYOND["low"], False), (BEYOND["high"], False), (math.nan, False)]:
        assert violations(of(Face, likeness=value)) == ([] if ok else ["face.likeness"])


@pytest.mark.parametrize(("fidelity", "ok"), [(0, False), (1, True), (9, True), (10, False)])
def test_fidelity(fidelity: int, ok: bool) -> None:
    assert violations(of(Upscale, fidelity=fidelity)) == ([] if ok else ["upscale.fidelity"])


@pytest.mark.parametrize("kind", [ImageToImage, Inpaint, GenerateBackground, Face, Control, Outpaint])
def test_edges(kind: Any) -> None:
    """The same of every task that they steer."""

    def found(**fields: Any) -> list[str]:
        return [path.removeprefix(f"{kind.name}.edges.") for path in violations(of(kind, edges=EdgesParams(**fields)))]

    assert found(scale=0) == found(scale=1) == []
    assert found(scale=BEYOND["low"]) == found(scale=BEYOND["high"]) == found(scale=math.nan) == ["scale"]
    assert found(low_threshold=0, high_threshold=0) == found(low_threshold=4000, high_threshold=4000) == []
    assert found(low_threshold=1) == found(high_threshold=1) == ["high_threshold"]
    assert found(low_threshold=2, high_threshold=1) == ["high_threshold"]
    assert found(low_threshold=-1, high_threshold=1) == ["low_threshold"]
    assert found(low_threshold=1, high_threshold=4001) == ["high_threshold"]


def test_a_drawing_has_no_colours_to_keep() -> None:
    assert violations(of(Control, edges_only=True, strength=0.5)) == ["control.strength"]
    assert violations(of(Control, edges_only=True)) == []


def test_strength_of_control_follows_the_scale_of_its_edges() -> None:
    """What the schema says: 1 - 0.6 times the scale."""
    strengths = [Control(image=PICTURE, edges=EdgesParams(scale=scale)).effective_strength for scale in (0, 0.5, 1)]
    assert strengths == pytest.approx([1.0, 0.7, 0.4])
    assert Control(image=PICTURE, strength=0.2).effective_strength == 0.2


@pytest.mark.parametrize(
    "kind", [ImageToImage, GenerateBackground, Face, Control, Inpaint, Upscale, Outpaint, Edit, FaceSwap]
)
def test_pictures_of_tasks(kind: Any) -> None:
    path = f"{kind.name}.image"
    wrong = [
        (ImageSource(), path),
        (ImageSource(data=b"x", url="http://x"), path),
        (ImageSource(data=b""), f"{path}.data"),
        (ImageSource(data=b"x" * 101), f"{path}.data"),
        (ImageSource(url=""), f"{path}.url"),
        (ImageSource(url="x" * 2049), f"{path}.url"),
    ]
    for image, named in wrong:
        assert violations(of(kind, image=image)) == [named]
    for image in (ImageSource(data=b"x" * 100), ImageSource(url="x" * 2048)):
        assert violations(of(kind, image=image)) == []


def test_the_mask_and_the_replacement_are_pictures_too() -> None:
    assert violations(of(Inpaint, mask=ImageSource(data=b""))) == ["inpaint.mask.data"]
    background = BackgroundParams(replace=ImageSource(data=b"x" * 101))
    assert violations(of(Edit), background=background) == ["background.replace.data"]
    assert violations(TextToImage(), background=background) == ["background.replace.data"]


def test_pictures_by_their_paths() -> None:
    """All that a request brings, where its errors expect them."""
    mask, replacement = ImageSource(url="http://m"), ImageSource(url="http://r")
    request = RequestParams(
        task=of(Inpaint, mask=mask),
        prompt="house",
        limits=Limits(),
        background=BackgroundParams(replace=replacement),
    )
    assert request.sources == {"inpaint.image": PICTURE, "inpaint.mask": mask, "background.replace": replacement}
    assert RequestParams(task=TextToImage(), prompt="house", limits=Limits()).sources == {}


def sized(**fields: Any) -> SizeParams:
    return SizeParams(**fields)


@pytest.mark.parametrize("name", ["width_percent", "height_percent"])
def test_percents(name: str) -> None:
    path = f"size.{name}"
    for value, ok in [(0, False), (1, True), (3200, True), (3201, False)]:
        assert violations(of(Edit), size=sized(**{name: value})) == ([] if ok else [path])
    assert violations(TextToImage(), size=sized(**{name: 100})) == [path]
    both: Any = {name: 100, name.removesuffix("_percent"): 100}
    assert violations(of(Edit), size=SizeParams(**both)) == [path]


def test_min_length() -> None:
    for value, ok in [(63, False), (64, True), (16_704, True), (16_705, False)]:
        assert violations(of(Edit), size=SizeParams(min_length=value)) == ([] if ok else ["size.min_length"])
    assert violations(TextToImage(), size=SizeParams(min_length=64)) == ["size.min_length"]


def test_a_side_alone_is_not_a_square_where_a_picture_gives_the_ratio() -> None:
    """1001 x 1001 would be too large; 1001 wide may be flat."""
    assert violations(of(Edit), size=SizeParams(width=1001)) == []
    assert violations(TextToImage(), size=SizeParams(width=1001)) == ["size"]
    assert violations(of(Edit), size=SizeParams(width=1001, height=1000)) == ["size"]


@pytest.mark.parametrize(
    ("given", "is_given"),
    [({}, False), ({"width": 64}, True), ({"height_percent": 1}, True), ({"min_length": 64}, True)],
)
def test_whether_a_size_is_given(given: dict[str, Any], is_given: bool) -> None:
    assert SizeParams(**given).is_given is is_given


def test_padding() -> None:
    for value, ok in [(-1, False), (0, True), (2048, True), (2049, False)]:
        layout = LayoutParams(padding_pixels=value)
        assert violations(of(Edit), layout=layout) == ([] if ok else ["layout.padding_pixels"])
    for share, ok in [(-0.01, False), (0, True), (0.45, True), (math.nextafter(0.45, 1), False), (math.nan, False)]:
        layout = LayoutParams(padding_share=share)
        assert violations(of(Edit), layout=layout) == ([] if ok else ["layout.padding_share"])


@pytest.mark.parametrize("fit", [Fit.CROP, Fit.BOUNDS, Fit.COVER])
def test_padding_is_for_a_canvas(fit: Fit) -> None:
    assert violations(of(Edit), layout=LayoutParams(fit=fit, padding_pixels=1)) == ["layout.padding_pixels"]
    assert violations(of(Edit), layout=LayoutParams(fit=fit, padding_share=0.1)) == ["layout.padding_share"]
    assert violations(of(Edit), layout=LayoutParams(fit=fit, padding_pixels=0)) == []


@pytest.mark.parametrize(
    ("layout", "pixels"),
    [
        (LayoutParams(), 0),
        (LayoutParams(padding_pixels=7), 7),
        (LayoutParams(padding_share=0.1), 20),  # of the shorter side
    ],
)
def test_padding_in_pixels(layout: LayoutParams, pixels: int) -> None:
    assert layout.padding(300, 200) == layout.padding(200, 300) == pixels


def test_colours() -> None:
    assert Color(1, 2, 3).rgba == (1, 2, 3, 255)
    assert not Color().auto


def test_names_and_defaults_are_those_of_the_schema() -> None:
    kinds = (TextToImage, ImageToImage, Inpaint, GenerateBackground, Face, Control, Upscale, Outpaint, Edit, FaceSwap)
    assert [kind.name for kind in kinds] == [*TaskName]
    assert (LayoutParams().fit, LayoutParams().gravity) == (Fit.CANVAS, CropGravity.CONTENT)
    assert (EdgesParams().scale, Face(image=PICTURE).likeness, Upscale(image=PICTURE).fidelity) == (0.5, 0.8, 5)
    assert [*Removal] == ["auto", "human", "item"]
