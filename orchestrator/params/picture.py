"""Pictures that a request brings, and the form of the one that it wants."""

from dataclasses import dataclass
from enum import StrEnum

from orchestrator.errors import Reason
from orchestrator.params.storage import is_storage
from orchestrator.params.violations import Violations

MIN_SIDE, MAX_SIDE = 64, 16_704
"""Sides of a result, pixels: the largest documented paper, B0, has 16,701 at 300 dpi."""
MAX_GENERATED_SIDE = 4096
"""Sides at which families generate, pixels."""
MAX_PIXELS = 200_000_000
"""Width times height of the largest result, unless the server has another limit: B0 at 300 dpi has 197 million."""
MAX_PERCENT = 3200
MAX_PADDING_PIXELS, MAX_PADDING_SHARE = 2048, 0.45
MAX_URL = 2048


class Fit(StrEnum):
    """How a picture is fitted into a size; the schema says what each does."""

    CANVAS = "canvas"
    CROP = "crop"
    BOUNDS = "bounds"
    COVER = "cover"


class CropGravity(StrEnum):
    """What Fit.CROP keeps."""

    CONTENT = "content"
    ITEM = "item"
    CENTER = "center"


class Removal(StrEnum):
    """Which object stays when a background is removed."""

    AUTO = "auto"
    HUMAN = "human"
    ITEM = "item"


@dataclass(frozen=True, slots=True)
class ImageSource:
    """A picture of the client's: its file's bytes, or where it is, in the web or a storage; exactly one of the two."""

    data: bytes | None = None
    url: str | None = None

    def validate(self, field: str, violations: Violations, max_bytes: int) -> None:
        """Note what is wrong; whether the URL may be fetched, and the account has the storage, is found elsewhere."""
        one = (self.data is None) != (self.url is None)
        violations.check(field, one, "is not set; give a picture's bytes or URL", Reason.REQUIRED)
        if self.data is not None:
            size = len(self.data)
            violations.check(f"{field}.data", size > 0, "is empty")
            violations.check(f"{field}.data", size <= max_bytes, f"has {size} bytes; the limit is {max_bytes}")
        if self.url is not None:
            violations.check(f"{field}.url", 0 < len(self.url) <= MAX_URL, f"must have 1 to {MAX_URL} characters")
            if is_storage(self.url):
                violations.check_address(f"{field}.url", self.url)


@dataclass(frozen=True, slots=True)
class Color:
    """An sRGB colour with opacity, 0 to 255 each; or, with auto, the median colour of the picture's border."""

    red: int = 0
    green: int = 0
    blue: int = 0
    alpha: int = 255
    auto: bool = False

    @property
    def rgba(self) -> tuple[int, int, int, int]:
        """Red, green, blue, opacity."""
        return self.red, self.green, self.blue, self.alpha


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeParams:
    """Size of a result.

    Attributes:
        width, height: pixels, 64 to 16,704.
        width_percent, height_percent: of the picture's own, 1 to 3200.
        min_length: pixels, 64 to 16,704, that the shorter side is enlarged to where it would be less.
        reorient: width and height change places where the picture has the other orientation.
    """

    width: int | None = None
    height: int | None = None
    width_percent: int | None = None
    height_percent: int | None = None
    min_length: int | None = None
    reorient: bool = False

    @property
    def is_given(self) -> bool:
        """Whether anything is said about the size."""
        return any((self.width, self.height, self.width_percent, self.height_percent, self.min_length))

    def validate(self, violations: Violations, max_pixels: int, *, from_picture: bool) -> None:
        """Note what is out of range, as far as it is known before the picture."""
        for name in ("width", "height", "min_length"):
            side = getattr(self, name)
            above = Reason.TOO_MANY_PIXELS
            violations.within(f"size.{name}", side, MIN_SIDE, MAX_SIDE, " pixels", above=above)
        for name in ("width", "height"):
            percent = getattr(self, f"{name}_percent")
            violations.within(f"size.{name}_percent", percent, 1, MAX_PERCENT, " %")
            both = percent is not None and getattr(self, name) is not None
            violations.check(f"size.{name}_percent", not both, f"cannot be set together with size.{name}")
        relative = {"width_percent", "height_percent", "min_length"}
        for name in sorted(relative) if not from_picture else ():
            violations.check(f"size.{name}", getattr(self, name) is None, "needs a task that starts from a picture")
        both = not self.reorient or (self.width is not None and self.height is not None)
        violations.check("size.reorient", both, "needs size.width and size.height")
        violations.check("size.reorient", from_picture or not self.reorient, "needs a task that starts from a picture")
        width, height = self.width or 0, self.height or 0
        if not from_picture:  # else the other side follows from the picture
            width, height = width or height, height or width
        if max(width, height) <= MAX_SIDE:  # else it is said of the side already
            limit = f"width times height exceeds the limit of {max_pixels} pixels"
            fits = width * height <= max_pixels
            violations.check("size", fits, limit, Reason.TOO_MANY_PIXELS, {"max_pixels": max_pixels})


@dataclass(frozen=True, slots=True, kw_only=True)
class LayoutParams:
    """How a picture is fitted into its size.

    Attributes:
        fit: the way.
        gravity: what Fit.CROP keeps.
        padding_pixels: 0 to 2048, room on each side; Fit.CANVAS, or Fit.CROP to the item.
        padding_share: the same as a share of the shorter side, 0 to 0.45; not together with padding_pixels.
    """

    fit: Fit = Fit.CANVAS
    gravity: CropGravity = CropGravity.CONTENT
    padding_pixels: int | None = None
    padding_share: float | None = None

    def validate(self, violations: Violations) -> None:
        """Note what is out of range."""
        violations.within("layout.padding_pixels", self.padding_pixels, 0, MAX_PADDING_PIXELS, " pixels")
        violations.within("layout.padding_share", self.padding_share, 0, MAX_PADDING_SHARE)
        for name in ("padding_pixels", "padding_share"):
            has_room = self.fit is Fit.CANVAS or self.crops_to_item
            ok = not getattr(self, name) or has_room
            violations.check(f"layout.{name}", ok, f"needs layout.fit canvas, or crop to the item, not {self.fit}")

    @property
    def crops_to_item(self) -> bool:
        """Whether the object is all that is kept."""
        return self.fit is Fit.CROP and self.gravity is CropGravity.ITEM

    def padding(self, width: int, height: int) -> int:
        """Pixels of padding on each side of a width x height canvas."""
        if self.padding_share is not None:
            return round(self.padding_share * min(width, height))
        return self.padding_pixels or 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BackgroundParams:
    """What happens to the background of a picture.

    Attributes:
        remove: which object stays; None leaves the background.
        color: behind what is transparent.
        replace: a picture behind what is transparent.
    """

    remove: Removal | None = None
    color: Color | None = None
    replace: ImageSource | None = None
