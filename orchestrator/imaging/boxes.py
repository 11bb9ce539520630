"""A rectangle of pixels."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Box:
    """Pixels left <= x < left + width, top <= y < top + height. Parts may be outside the picture."""

    left: int
    top: int
    width: int
    height: int

    @property
    def right(self) -> int:
        """The first column after the box."""
        return self.left + self.width

    @property
    def bottom(self) -> int:
        """The first row after the box."""
        return self.top + self.height

    @property
    def rows(self) -> slice:
        """Rows of an array, for a box inside the picture."""
        return slice(self.top, self.bottom)

    @property
    def columns(self) -> slice:
        """Columns of an array, for a box inside the picture."""
        return slice(self.left, self.right)

    def within(self, width: int, height: int) -> "Box":
        """The part of the box inside a picture of this size; nothing at all gives a side of 0."""
        left, top = min(max(0, self.left), width), min(max(0, self.top), height)
        right, bottom = min(max(left, self.right), width), min(max(top, self.bottom), height)
        return Box(left, top, right - left, bottom - top)
