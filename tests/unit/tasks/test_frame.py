"""Sizes that follow from a picture and what was asked for."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from orchestrator.errors import InvalidRequestError
from orchestrator.params import MAX_PIXELS, MAX_SIDE, Fit, LayoutParams, SizeParams
from orchestrator.tasks.frame import Frame, contained, covering
from orchestrator.tasks.limits import COMPOSED_PIXELS, COMPOSED_SIDE

PIXELS = MAX_PIXELS
SIDES = st.integers(1, 4096)


def frame(own: tuple[int, int], size: SizeParams | None = None, **layout: object) -> Frame:
    return Frame.of(own, size or SizeParams(), LayoutParams(**layout), PIXELS)  # type: ignore[arg-type]  # by name


@pytest.mark.parametrize(
    ("size", "target"),
    [
        (SizeParams(), (300, 200)),
        (SizeParams(width=600), (600, 400)),
        (SizeParams(height=100), (150, 100)),
        (SizeParams(width=64, height=64), (64, 64)),
        (SizeParams(width_percent=200), (600, 400)),
        (SizeParams(height_percent=50), (150, 100)),
        (SizeParams(width_percent=200, height_percent=100), (600, 200)),
        (SizeParams(width=600, height_percent=50), (600, 100)),
        (SizeParams(min_length=400), (600, 400)),
        (SizeParams(min_length=100), (300, 200)),
        (SizeParams(width=150, min_length=200), (300, 200)),
        (SizeParams(width=100, height=140, reorient=True), (140, 100)),
        (SizeParams(width=140, height=100, reorient=True), (140, 100)),
        (SizeParams(width=100, height=100, reorient=True), (100, 100)),
    ],
)
def test_what_is_left_open_follows_from_the_picture(size: SizeParams, target: tuple[int, int]) -> None:
    assert frame((300, 200), size).output_size == target


def test_a_square_picture_turns_nothing() -> None:
    for width, height in ((100, 140), (140, 100)):
        assert frame((64, 64), SizeParams(width=width, height=height, reorient=True)).output_size == (width, height)


@pytest.mark.parametrize(
    ("fit", "made", "target"),
    [
        (Fit.CANVAS, (400, 200), (400, 400)),
        (Fit.BOUNDS, (400, 200), (400, 200)),
        (Fit.COVER, (800, 400), (800, 400)),
        (Fit.CROP, (800, 400), (400, 400)),
    ],
)
def test_each_fit(fit: Fit, made: tuple[int, int], target: tuple[int, int]) -> None:
    assert frame((200, 100), SizeParams(width=400, height=400), fit=fit) == Frame((200, 100), made, target, made)


def test_padding_leaves_room_inside_the_target() -> None:
    found = frame((200, 100), SizeParams(width=400, height=200), padding_pixels=20)
    assert (found.content_size, found.output_size) == ((320, 160), (400, 200))
    found = frame((200, 100), padding_share=0.1)
    assert (found.content_size, found.output_size) == ((160, 80), (200, 100))


@pytest.mark.parametrize(
    ("own", "size", "layout", "field"),
    [
        ((16_705, 10), SizeParams(), {}, "size"),
        ((10_000, 3000), SizeParams(width_percent=200), {}, "size.width_percent"),
        ((3000, 10_000), SizeParams(height_percent=200), {}, "size.height_percent"),
        ((100, 1000), SizeParams(width=2000), {}, "size.width"),
        ((1000, 100), SizeParams(height=2000), {}, "size.height"),
        ((1000, 100), SizeParams(min_length=2000), {}, "size.min_length"),
        ((1000, 100), SizeParams(width=2000, height=2000), {"fit": Fit.COVER}, "layout.fit"),
        ((100, 100), SizeParams(), {"padding_pixels": 50}, "layout.padding_pixels"),
    ],
)
def test_what_is_too_large_is_refused_by_its_field(
    own: tuple[int, int], size: SizeParams, layout: dict[str, object], field: str
) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        frame(own, size, **layout)
    assert [violation.field for violation in refused.value.violations] == [field]


def test_the_limit_of_pixels_counts_too() -> None:
    with pytest.raises(InvalidRequestError, match=r"^size.width: .*1000 x 1000 pixels.*999999 in all"):
        Frame.of((10, 10), SizeParams(width=1000), LayoutParams(), 999_999)


def test_a_crop_to_a_sliver_stays_bounded() -> None:
    found = frame((1, 20_000), SizeParams(width=64, height=64), fit=Fit.CROP)
    assert found.output_size == (64, 64)
    assert max(found.content_size) <= 4096


@given(SIDES, SIDES, SIDES, SIDES)
def test_containing_and_covering_touch_on_one_side(width: int, height: int, to_width: int, to_height: int) -> None:
    own, to = (width, height), (to_width, to_height)
    inside, outside = contained(own, to), covering(own, to)
    assert inside[0] <= to_width
    assert inside[1] <= to_height
    assert outside[0] >= to_width
    assert outside[1] >= to_height
    for size in (inside, outside):
        assert size[0] == to_width or size[1] == to_height
        assert abs(size[0] * height - size[1] * width) <= max(width, height)  # own's ratio, to a pixel


@given(SIDES, SIDES, st.integers(64, 4096))
def test_one_side_alone_never_leaves_bars(width: int, height: int, side: int) -> None:
    for size in (SizeParams(width=side), SizeParams(height=side)):
        try:
            found = frame((width, height), size)
        except InvalidRequestError:
            continue
        assert found.full == found.output_size


@given(st.integers(1, 30_000), st.integers(1, 30_000), st.integers(64, MAX_SIDE), st.integers(64, MAX_SIDE))
def test_what_is_composed_is_bounded_however_large_the_result_is(own: int, high: int, width: int, height: int) -> None:
    for fit in Fit:
        try:
            found = frame((own, high), SizeParams(width=width, height=height), fit=fit)
        except InvalidRequestError:
            continue
        assert max(found.content_size) <= COMPOSED_SIDE
        assert found.content_size[0] * found.content_size[1] <= COMPOSED_PIXELS * 1.001
        assert found.is_large or found.content_size == found.full
        small, layout = found.reduced(LayoutParams(fit=fit, padding_pixels=100))
        assert max(small.output_size) <= COMPOSED_SIDE
        assert (layout.padding_pixels or 0) <= 100


def test_every_paper_has_room_at_300_dpi() -> None:
    """The largest are A0, B0 and C0, in millimetres."""
    for millimetres in ((841, 1189), (1000, 1414), (917, 1297)):
        width, height = (round(side / 25.4 * 300) for side in millimetres)
        assert frame((300, 400), SizeParams(width=width, height=height)).output_size == (width, height)
