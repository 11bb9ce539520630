"""Enhancements of a picture, and what is laid over it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from orchestrator.params.picture import MAX_PADDING_PIXELS, MAX_PADDING_SHARE, ImageSource
from orchestrator.params.violations import Violations


class EnhancementKind(StrEnum):
    """What can be enhanced, in the order in which it is done."""

    CLEAN = "clean"
    DENOISE = "denoise"
    EXPOSURE_CORRECTION = "exposure_correction"
    WHITE_BALANCE = "white_balance"
    LIGHT = "light"
    COLOR = "color"
    DEBLUR = "deblur"
    FACE_ENHANCE = "face_enhance"


class EnhancementMethod(StrEnum):
    """Ways of doing it; the schema says what each does."""

    V1 = "v1"
    V2 = "v2"
    CONTRAST = "contrast"
    HDR_LIGHT = "hdr_light"
    HDR_LIGHT_ADVANCED = "hdr_light_advanced"
    BEAUTIFY_REAL = "beautify_real"
    BEAUTIFY = "beautify"


_LIGHTS = (EnhancementMethod.CONTRAST, EnhancementMethod.HDR_LIGHT, EnhancementMethod.HDR_LIGHT_ADVANCED)

METHODS: Mapping[EnhancementKind, Sequence[EnhancementMethod]] = MappingProxyType(
    {
        EnhancementKind.CLEAN: (),
        EnhancementKind.DENOISE: (EnhancementMethod.V1, EnhancementMethod.V2),
        EnhancementKind.EXPOSURE_CORRECTION: (),
        EnhancementKind.WHITE_BALANCE: (),
        EnhancementKind.LIGHT: _LIGHTS,
        EnhancementKind.COLOR: _LIGHTS,
        EnhancementKind.DEBLUR: (EnhancementMethod.V1, EnhancementMethod.V2),
        EnhancementKind.FACE_ENHANCE: (EnhancementMethod.BEAUTIFY_REAL, EnhancementMethod.BEAUTIFY),
    }
)
"""Ways of each kind; the first is the default."""
FACE_LEVEL = 0.5
"""Level of better faces, where none is given."""
LEAST_STRENGTH, MOST_STRENGTH = 0.08, 0.4
"""Of painting faces over, at level 0 and at level 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Enhancement:
    """One enhancement.

    Attributes:
        kind: what.
        method: which way; None for the kind's first, or its only one.
        level: 0 to 1; None for 1, or 0.5 of faces.
        smoothing: 0 to 1, of skin; None for 0, of BEAUTIFY 0.5. Of FACE_ENHANCE only.
    """

    kind: EnhancementKind
    method: EnhancementMethod | None = None
    level: float | None = None
    smoothing: float | None = None

    def validate(self, field: str, violations: Violations) -> None:
        """Note what is wrong."""
        known = METHODS[self.kind]
        fits = self.method is None or self.method in known
        ways = f"must be one of {', '.join(known)}" if known else "cannot be set"
        violations.check(f"{field}.method", fits, f"{ways} for {self.kind}")
        violations.within(f"{field}.level", self.level, 0, 1)
        violations.within(f"{field}.smoothing", self.smoothing, 0, 1)
        smooths = self.smoothing is None or self.kind is EnhancementKind.FACE_ENHANCE
        violations.check(f"{field}.smoothing", smooths, "works for face_enhance only")

    @property
    def way(self) -> EnhancementMethod | None:
        """The method, or the kind's first; None where it has one way only."""
        return self.method or next(iter(METHODS[self.kind]), None)

    @property
    def amount(self) -> float:
        """The level, or its default."""
        if self.level is not None:
            return self.level
        return FACE_LEVEL if self.kind is EnhancementKind.FACE_ENHANCE else 1.0

    @property
    def strength(self) -> float:
        """Of painting faces over: how far back towards noise it starts."""
        return LEAST_STRENGTH + self.amount * (MOST_STRENGTH - LEAST_STRENGTH)

    @property
    def detail(self) -> float:
        """How much of the detail that painting faces over has changed is taken: all of it from the default level on."""
        return min(1.0, self.amount / FACE_LEVEL)

    @property
    def smooth(self) -> float:
        """How smooth skin becomes."""
        if self.smoothing is not None:
            return self.smoothing
        return 0.5 if self.method is EnhancementMethod.BEAUTIFY else 0.0


def validate_all(enhancements: Sequence[Enhancement], violations: Violations, *, from_picture: bool) -> None:
    """Note what is wrong with each, and with all together."""
    seen: set[EnhancementKind] = set()
    for number, each in enumerate(enhancements):
        field = f"enhancements[{number}]"
        each.validate(field, violations)
        violations.check(f"{field}.kind", each.kind not in seen, f"has {each.kind} twice")
        allowed = from_picture or each.kind is EnhancementKind.FACE_ENHANCE
        violations.check(f"{field}.kind", allowed, f"{each.kind} needs a task that starts from a picture")
        seen.add(each.kind)


def faces_wanted(enhancements: Sequence[Enhancement]) -> Enhancement | None:
    """How faces are enhanced, if they are: at level 0, and without smoothing, nothing changes."""
    faces = (each for each in enhancements if each.kind is EnhancementKind.FACE_ENHANCE)
    return next((each for each in faces if each.amount > 0 or each.smooth > 0), None)


class HorizontalPlace(StrEnum):
    """Where, along the width."""

    LEFT = "left"
    CENTER = "center"
    RIGHT = "right"


class VerticalPlace(StrEnum):
    """Where, along the height."""

    TOP = "top"
    CENTER = "center"
    BOTTOM = "bottom"


@dataclass(frozen=True, slots=True, kw_only=True)
class Caption:
    """A picture laid over the result.

    Attributes:
        image: the picture.
        horizontal, vertical: where.
        width_share: its width, of the result's; above 0 to 1.
        padding_share: room to the borders, of the result's width; 0 to 0.45.
        padding_pixels: the same in pixels, 0 to 2048; None for the share.
        opacity: 0 to 1.
    """

    image: ImageSource
    horizontal: HorizontalPlace = HorizontalPlace.RIGHT
    vertical: VerticalPlace = VerticalPlace.BOTTOM
    width_share: float = 0.25
    padding_share: float = 0.05
    padding_pixels: int | None = None
    opacity: float = 1.0

    def validate(self, violations: Violations) -> None:
        """Note what is wrong, except with the picture."""
        violations.within("caption.width_share", self.width_share, 0, 1)
        violations.check("caption.width_share", self.width_share != 0, "must be above 0")
        violations.within("caption.padding_share", self.padding_share, 0, MAX_PADDING_SHARE)
        violations.within("caption.padding_pixels", self.padding_pixels, 0, MAX_PADDING_PIXELS, " pixels")
        violations.within("caption.opacity", self.opacity, 0, 1)
