"""The tasks and their own parameters. The schema says what each does."""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from orchestrator.params.picture import Color, ImageSource
from orchestrator.params.violations import Violations

MAX_CANNY = 4000.0
CONTROL_STRENGTH_SLOPE = 0.6
MIN_FIDELITY, MAX_FIDELITY = 1, 9
MAX_REFERENCES = 3

_KIND = re.compile(r"[a-z][a-z0-9_]{0,31}")


class TaskName(StrEnum):
    """Tasks, by the names of the schema."""

    TEXT_TO_IMAGE = "text_to_image"
    IMAGE_TO_IMAGE = "image_to_image"
    INPAINT = "inpaint"
    GENERATE_BACKGROUND = "generate_background"
    FACE = "face"
    CONTROL = "control"
    UPSCALE = "upscale"
    OUTPAINT = "outpaint"
    EDIT = "edit"
    FACE_SWAP = "face_swap"


class Enlargement(StrEnum):
    """How a picture is enlarged without generation; the schema says what each does."""

    TEXT = "text"


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgesParams:
    """How edges steer.

    Attributes:
        scale: 0 to 1, how much they are kept.
        low_threshold, high_threshold: of Canny, 0 to 4000; both, or neither, which takes the picture's own.
    """

    scale: float = 0.5
    low_threshold: float | None = None
    high_threshold: float | None = None

    def validate(self, field: str, violations: Violations) -> None:
        """Note what is out of range."""
        violations.within(f"{field}.scale", self.scale, 0, 1)
        low, high = self.low_threshold, self.high_threshold
        violations.within(f"{field}.low_threshold", low, 0, MAX_CANNY)
        violations.within(f"{field}.high_threshold", high, 0, MAX_CANNY)
        both = (low is None) == (high is None)
        violations.check(f"{field}.high_threshold", both, "and low_threshold are set together, or neither")
        if low is not None and high is not None:
            violations.check(f"{field}.high_threshold", low <= high, "is less than low_threshold")


@dataclass(frozen=True, slots=True, kw_only=True)
class TextToImage:
    """A picture from text alone."""

    name: ClassVar[TaskName] = TaskName.TEXT_TO_IMAGE
    needs_prompt: ClassVar[bool] = True
    starts_from_picture: ClassVar[bool] = False

    @property
    def sources(self) -> dict[str, ImageSource]:
        """It starts from none."""
        return {}

    def validate(self, violations: Violations) -> None:
        """Nothing of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _FromPicture:
    """A task that starts from a picture.

    Attributes:
        image: the picture.
        edges: how its edges steer; None for not at all.
    """

    name: ClassVar[TaskName]
    needs_prompt: ClassVar[bool] = False
    starts_from_picture: ClassVar[bool] = True

    image: ImageSource
    edges: EdgesParams | None = None

    @property
    def sources(self) -> dict[str, ImageSource]:
        """The client's pictures, by the paths of their fields."""
        return {f"{self.name}.image": self.image}

    def validate(self, violations: Violations) -> None:
        """Note what is wrong, except with the pictures."""
        if self.edges is not None:
            self.edges.validate(f"{self.name}.edges", violations)

    def _share(self, violations: Violations, name: str, value: float | None, *, above_zero: bool = False) -> None:
        violations.within(f"{self.name}.{name}", value, 0, 1)
        if above_zero:
            violations.check(f"{self.name}.{name}", value != 0, "must be above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Steered(_FromPicture):
    """Changed by a share, and steered by other pictures.

    Attributes:
        strength: above 0 to 1.
        references: up to 3 pictures whose likeness steers.
        likeness: 0 to 1, how much they do.
    """

    strength: float = 0.6
    references: tuple[ImageSource, ...] = ()
    likeness: float = 0.6

    @property
    def sources(self) -> dict[str, ImageSource]:
        """The picture, and those that steer."""
        return self._steering_sources()

    def _steering_sources(self) -> dict[str, ImageSource]:
        references = {f"{self.name}.references[{n}]": source for n, source in enumerate(self.references)}
        return {f"{self.name}.image": self.image, **references}

    def validate(self, violations: Violations) -> None:
        """Note what is wrong, except with the pictures."""
        _FromPicture.validate(self, violations)
        self._share(violations, "strength", self.strength, above_zero=True)
        self._share(violations, "likeness", self.likeness)
        count = len(self.references)
        few = count <= MAX_REFERENCES
        violations.check(f"{self.name}.references", few, f"may be {MAX_REFERENCES} pictures at most, not {count}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageToImage(_Steered):
    """A picture changed by the prompt."""

    name: ClassVar[TaskName] = TaskName.IMAGE_TO_IMAGE


@dataclass(frozen=True, slots=True, kw_only=True)
class Inpaint(_Steered):
    """A part of a picture painted again: where mask is white, or transparent."""

    name: ClassVar[TaskName] = TaskName.INPAINT
    mask: ImageSource
    strength: float = 1.0
    mask_by_opacity: bool = False

    @property
    def sources(self) -> dict[str, ImageSource]:
        """The picture, its mask, and those that steer."""
        return {**self._steering_sources(), f"{self.name}.mask": self.mask}


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateBackground(_FromPicture):
    """The picture's object before a painted background.

    Attributes:
        item_area: above 0 to 1, share of the area that a box around the object may take; None leaves it in its place.
        color: that the background starts from.
    """

    name: ClassVar[TaskName] = TaskName.GENERATE_BACKGROUND
    item_area: float | None = None
    color: Color | None = None

    def validate(self, violations: Violations) -> None:
        """Note what is wrong, except with the pictures."""
        _FromPicture.validate(self, violations)
        self._share(violations, "item_area", self.item_area, above_zero=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Face(_FromPicture):
    """An avatar of the largest face; face_only leaves hair and surroundings out; likeness 0 to 1."""

    name: ClassVar[TaskName] = TaskName.FACE
    face_only: bool = False
    likeness: float = 0.8

    def validate(self, violations: Violations) -> None:
        """Note what is wrong, except with the pictures."""
        _FromPicture.validate(self, violations)
        self._share(violations, "likeness", self.likeness)


@dataclass(frozen=True, slots=True, kw_only=True)
class Control(_FromPicture):
    """A picture that keeps another's edges.

    Attributes:
        edges: how much.
        edges_only: the picture is a drawing, whose colours are not used.
        control_kind: 1 to 32 of a-z 0-9 _, one of the family's; None takes "scribble" for a drawing and "canny" for
            another picture, or the family's first kind.
        strength: above 0 to 1, how much of the colours is changed; None takes it from the scale of the edges.
    """

    name: ClassVar[TaskName] = TaskName.CONTROL
    edges: EdgesParams = EdgesParams()
    edges_only: bool = False
    strength: float | None = None
    control_kind: str | None = None

    def validate(self, violations: Violations) -> None:
        """Note what is wrong, except with the pictures."""
        _FromPicture.validate(self, violations)
        self._share(violations, "strength", self.strength, above_zero=True)
        named = self.control_kind is None or _KIND.fullmatch(self.control_kind) is not None
        violations.check("control.control_kind", named, "must be 1 to 32 characters of a-z 0-9 _, a letter first")
        both = self.edges_only and self.strength is not None
        violations.check("control.strength", not both, "cannot be set with edges_only")

    @property
    def effective_strength(self) -> float:
        """Strength that is given, or that follows from the scale."""
        return 1 - CONTROL_STRENGTH_SLOPE * self.edges.scale if self.strength is None else self.strength


@dataclass(frozen=True, slots=True, kw_only=True)
class Upscale(_FromPicture):
    """A picture enlarged; fidelity 1 (much is painted in) to 9 (nearly a plain enlargement)."""

    name: ClassVar[TaskName] = TaskName.UPSCALE
    fidelity: int = 5

    def validate(self, violations: Violations) -> None:
        """Note what is wrong, except with the pictures."""
        _FromPicture.validate(self, violations)
        violations.within("upscale.fidelity", self.fidelity, MIN_FIDELITY, MAX_FIDELITY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outpaint(_FromPicture):
    """A picture continued beyond its borders."""

    name: ClassVar[TaskName] = TaskName.OUTPAINT


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit(_FromPicture):
    """A picture without any painting; enlargement None is plain resampling."""

    name: ClassVar[TaskName] = TaskName.EDIT
    enlargement: Enlargement | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceSwap(_FromPicture):
    """The picture's first found face replaced by that of `face`.

    Attributes:
        face: the picture with the new face.
        strength: 0 to 1, how much of it is generated over.
        likeness: 0 to 1, how much the new face steers that.
    """

    name: ClassVar[TaskName] = TaskName.FACE_SWAP
    face: ImageSource
    strength: float = 0.1
    likeness: float = 0.8

    @property
    def sources(self) -> dict[str, ImageSource]:
        """The picture and the new face."""
        return {f"{self.name}.image": self.image, f"{self.name}.face": self.face}

    def validate(self, violations: Violations) -> None:
        """Note what is wrong, except with the pictures."""
        self._share(violations, "strength", self.strength)
        self._share(violations, "likeness", self.likeness)


Task = TextToImage | ImageToImage | Inpaint | GenerateBackground | Face | Control | Upscale | Outpaint | Edit | FaceSwap
