"""Sizes: of the picture that came, of the one that was asked for, and of the one that a task generates in between."""

from dataclasses import dataclass, replace

from orchestrator.diffusion.latents import Size
from orchestrator.errors import InvalidRequestError, Reason, Violation
from orchestrator.params import MAX_SIDE, Fit, LayoutParams, SizeParams
from orchestrator.tasks.limits import COMPOSED_PIXELS, COMPOSED_SIDE

ITEM_SCALE = 4
"""How much a picture is enlarged at most for an object that is smaller than min_length."""


@dataclass(frozen=True, slots=True)
class Frame:
    """Sizes of one request, pixels.

    Attributes:
        source_size: of the picture that came.
        content_size: of what the task generates of it, in its ratio to the pixel. It has the scale of the result, so
            that each picture is resized once; of a large result what limits.COMPOSED_SIDE and COMPOSED_PIXELS allow.
        output_size: of the result: `full` and what is put around it, or less what is cut from it.
        full: what `content_size` has become in the result.
    """

    source_size: Size
    content_size: Size
    output_size: Size
    full: Size

    @property
    def is_large(self) -> bool:
        """Whether what the task generates is enlarged as the file is written."""
        return self.content_size != self.full or not _is_composed(self.output_size)

    @classmethod
    def of(cls, source_size: Size, size: SizeParams, layout: LayoutParams, max_pixels: int) -> "Frame":
        """Sizes by what was asked for.

        Raises:
            InvalidRequestError: the result would be too large, or the padding leaves no room.
        """
        output_size = _asked(source_size, size)
        _check(output_size, max_pixels, _field(size))
        if layout.fit is Fit.CANVAS:
            return cls.scaled(source_size, contained(source_size, room(output_size, layout)), output_size)
        if layout.fit is Fit.BOUNDS:
            full = contained(source_size, output_size)
            return cls.scaled(source_size, full, full)
        full = covering(source_size, output_size)
        if layout.fit is Fit.COVER:
            _check(full, max_pixels, "layout.fit")
            return cls.scaled(source_size, full, full)
        return cls.scaled(source_size, _limited(full, max_pixels), output_size)

    @classmethod
    def scaled(cls, source_size: Size, full: Size, output_size: Size) -> "Frame":
        """A frame in which the picture has the size `full`."""
        return cls(source_size, _limited(full, COMPOSED_PIXELS, COMPOSED_SIDE), output_size, full)

    def reduced(self, layout: LayoutParams) -> tuple["Frame", LayoutParams]:
        """The frame and the layout at the scale at which a large result is composed; else as they are."""
        small = _limited(self.output_size, COMPOSED_PIXELS, COMPOSED_SIDE)
        scale = max(small) / max(self.output_size)
        if scale == 1:
            return self, layout
        source_size = _side(self.source_size[0] * scale), _side(self.source_size[1] * scale)
        full = min(small[0], _side(self.full[0] * scale)), min(small[1], _side(self.full[1] * scale))
        padding = None if layout.padding_pixels is None else round(layout.padding_pixels * scale)
        return Frame(source_size, full, small, full), replace(layout, padding_pixels=padding)


def result_size(source_size: Size, size: SizeParams, layout: LayoutParams, max_pixels: int) -> Size:
    """About the size of the largest picture on the way to the result; nothing is refused here."""
    asked = _asked(source_size, size)
    if size.min_length is not None:  # a small object that is cut out may be enlarged further
        asked = asked[0] * ITEM_SCALE, asked[1] * ITEM_SCALE
    return _limited(covering(source_size, asked) if layout.fit in {Fit.COVER, Fit.CROP} else asked, max_pixels)


def with_item(frame: Frame, item: Size, size: SizeParams, max_pixels: int) -> Frame:
    """The frame of a picture whose object, of the size `item` in it, has at least min_length on its shorter side.

    A width or a height that was asked for stays as it is; no side becomes more than ITEM_SCALE times as long.

    Raises:
        InvalidRequestError: the result would be too large.
    """
    is_fixed = any((size.width, size.height, size.width_percent, size.height_percent))
    length = min(item) * frame.full[0] / frame.content_size[0]  # in the result
    if size.min_length is None or is_fixed or length >= size.min_length:
        return frame
    scale = min(ITEM_SCALE, size.min_length / max(1, length))
    full, output_size = ((_side(side[0] * scale), _side(side[1] * scale)) for side in (frame.full, frame.output_size))
    _check(output_size, max_pixels, "size.min_length")
    return Frame.scaled(frame.source_size, full, output_size)


def around_item(frame: Frame, item: Size, size: SizeParams, layout: LayoutParams, max_pixels: int) -> Frame:
    """The frame of a box, of the size `item`, that is cut out of a picture, with the padding around it.

    Sizes of items are in pixels of a picture of `content_size`.

    Without a width and a height the box keeps its size; one alone keeps the box's ratio.

    Raises:
        InvalidRequestError: the padding leaves no room, or the result would be too large.
    """
    across, down = (any(pair) for pair in ((size.width, size.width_percent), (size.height, size.height_percent)))
    if across and down:
        return Frame.scaled(frame.source_size, contained(item, room(frame.output_size, layout)), frame.output_size)
    if across or down:
        axis = 0 if across else 1
        side = frame.output_size[axis]
        padding = layout.padding(side, side)
        scale = room((side, side), layout)[axis] / item[axis]
    else:
        scale = frame.full[0] / frame.content_size[0]
        share = layout.padding_share or 0.0
        padding = layout.padding_pixels or round(share * min(item) * scale / (1 - 2 * share))
    full = _side(item[0] * scale), _side(item[1] * scale)
    output_size = full[0] + 2 * padding, full[1] + 2 * padding
    _check(output_size, max_pixels, _field(size))
    return Frame.scaled(frame.source_size, full, output_size)


def room(output_size: Size, layout: LayoutParams) -> Size:
    """What the padding leaves of a canvas.

    Raises:
        InvalidRequestError: nothing.
    """
    padding = layout.padding(*output_size)
    inner = output_size[0] - 2 * padding, output_size[1] - 2 * padding
    if min(inner) < 1:
        name = "padding_share" if layout.padding_share is not None else "padding_pixels"
        text = f"leaves no room: {padding} pixels on each side of {output_size[0]} x {output_size[1]}"
        raise InvalidRequestError(Violation(f"layout.{name}", text))
    return inner


def contained(size: Size, into: Size) -> Size:
    """The largest size of a size's ratio that fits into another; at least one pixel on each side."""
    return max((each for each in _scaled(size, into) if each[0] <= into[0] and each[1] <= into[1]), key=_area)


def covering(size: Size, over: Size) -> Size:
    """The smallest size of a size's ratio that covers another."""
    return min((each for each in _scaled(size, over) if each[0] >= over[0] and each[1] >= over[1]), key=_area)


def _scaled(size: Size, to: Size) -> tuple[Size, Size]:
    """Own's ratio at the other's width, and at its height: one of the two fits, the other covers, or both do both."""
    return (to[0], _side(size[1] * to[0] / size[0])), (_side(size[0] * to[1] / size[1]), to[1])


def _asked(source: Size, size: SizeParams) -> Size:
    width, height = size.width, size.height
    across, down = size.width_percent, size.height_percent
    if across is not None or (down is not None and width is None):  # one alone keeps the ratio exactly
        width = _side(source[0] * (across or down or 0) / 100)
    if down is not None or (across is not None and height is None):
        height = _side(source[1] * (down or across or 0) / 100)
    if width is None and height is None:
        width, height = source
    if size.reorient and width and height and (width - height) * (source[0] - source[1]) < 0:
        width, height = height, width
    asked = width or _side(source[0] * (height or 0) / source[1]), height or _side(source[1] * (width or 0) / source[0])
    if size.min_length is None or min(asked) >= size.min_length:
        return asked
    least, short = size.min_length, min(asked)
    return _side(asked[0] * least / short), _side(asked[1] * least / short)


def _check(size: Size, max_pixels: int, field: str) -> None:
    width, height = size
    if max(size) > MAX_SIDE or width * height > max_pixels:
        limit = f"{MAX_SIDE} pixels on a side and {max_pixels} in all"
        text = f"gives a picture of {width} x {height} pixels; the limit is {limit}"
        limits = {"maximum": MAX_SIDE, "max_pixels": max_pixels}
        raise InvalidRequestError(Violation(field, text, Reason.TOO_MANY_PIXELS, limits))


def _field(size: SizeParams) -> str:
    """The field that says most about the size."""
    for name in ("width_percent", "height_percent", "min_length"):
        if getattr(size, name) is not None:
            return f"size.{name}"
    if size.width is not None and size.height is not None:
        return "size"
    return "size.width" if size.width else "size.height" if size.height else "size"


def _limited(size: Size, max_pixels: int, max_side: int = MAX_SIDE) -> Size:
    """The size, scaled down where it is too large."""
    scale = min(1.0, max_side / max(size), (max_pixels / _area(size)) ** 0.5)
    return (_side(size[0] * scale), _side(size[1] * scale)) if scale < 1 else size


def _is_composed(size: Size) -> bool:
    return max(size) <= COMPOSED_SIDE and _area(size) <= COMPOSED_PIXELS


def _side(value: float) -> int:
    return max(1, round(value))


def _area(size: Size) -> int:
    return size[0] * size[1]
