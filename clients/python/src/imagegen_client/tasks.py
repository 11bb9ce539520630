"""What can be asked for. Every task starts from a picture, but for the one that has none: text alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from imagegen_client.pictures import Source, to_source
from imagegen_client.v1 import generation_pb2 as pb


@dataclass(frozen=True, slots=True, kw_only=True)
class Edges:
    """How much the edges of the picture steer.

    Attributes:
        scale: 0 to 1.
        low, high: thresholds of Canny, 0 to 4000: both, or neither, which takes the picture's own.
    """

    scale: float = 0.5
    low: float | None = None
    high: float | None = None

    def to_proto(self) -> pb.Edges:
        """As the schema has it."""
        return pb.Edges(scale=self.scale, low_threshold=self.low, high_threshold=self.high)


@dataclass(frozen=True, slots=True)
class ImageToImage:
    """A picture changed by the prompt; `strength` above 0 to 1 says how much.

    `references` are up to 3 pictures whose likeness steers; `likeness` 0 to 1 says how much.
    """

    image: Source
    strength: float | None = None
    edges: Edges | None = None
    references: Sequence[Source] = ()
    likeness: float | None = None

    def add_to(self, request: pb.GenerateRequest) -> None:
        """Set the task of a request."""
        request.image_to_image.CopyFrom(
            pb.ImageToImage(
                image=to_source(self.image),
                strength=self.strength,
                edges=_edges(self.edges),
                references=map(to_source, self.references),
                likeness=self.likeness,
            )
        )


@dataclass(frozen=True, slots=True)
class Inpaint:
    """A part of a picture painted by the prompt: where the mask is white, or, by opacity, transparent.

    `references` and `likeness` are as of ImageToImage.
    """

    image: Source
    mask: Source
    strength: float | None = None
    edges: Edges | None = None
    mask_by_opacity: bool | None = None
    references: Sequence[Source] = ()
    likeness: float | None = None

    def add_to(self, request: pb.GenerateRequest) -> None:
        """Set the task of a request."""
        request.inpaint.CopyFrom(
            pb.Inpaint(
                image=to_source(self.image),
                mask=to_source(self.mask),
                strength=self.strength,
                edges=_edges(self.edges),
                mask_by_opacity=self.mask_by_opacity,
                references=map(to_source, self.references),
                likeness=self.likeness,
            )
        )


@dataclass(frozen=True, slots=True)
class GenerateBackground:
    """The main object of a picture, kept, in front of a generated background."""

    image: Source
    item_area: float | None = None
    edges: Edges | None = None

    def add_to(self, request: pb.GenerateRequest) -> None:
        """Set the task of a request."""
        request.generate_background.CopyFrom(
            pb.GenerateBackground(image=to_source(self.image), item_area=self.item_area, edges=_edges(self.edges))
        )


@dataclass(frozen=True, slots=True)
class Face:
    """An avatar like the largest face of a picture; `likeness` 0 to 1."""

    image: Source
    face_only: bool | None = None
    likeness: float | None = None
    edges: Edges | None = None

    def add_to(self, request: pb.GenerateRequest) -> None:
        """Set the task of a request."""
        request.face.CopyFrom(
            pb.Face(
                image=to_source(self.image),
                face_only=self.face_only,
                likeness=self.likeness,
                edges=_edges(self.edges),
            )
        )


@dataclass(frozen=True, slots=True)
class FaceSwap:
    """A picture whose largest face takes the looks of that of another, `face`.

    `strength` 0 to 1 says how much of the new face is generated over, `likeness` 0 to 1 how like it the result is.
    """

    image: Source
    face: Source
    strength: float | None = None
    likeness: float | None = None

    def add_to(self, request: pb.GenerateRequest) -> None:
        """Set the task of a request."""
        request.face_swap.CopyFrom(
            pb.FaceSwap(
                image=to_source(self.image),
                face=to_source(self.face),
                strength=self.strength,
                likeness=self.likeness,
            )
        )


@dataclass(frozen=True, slots=True)
class Control:
    """A picture that keeps another's edges; or that a control picture of another `kind` steers."""

    image: Source
    edges: Edges | None = None
    edges_only: bool | None = None
    strength: float | None = None
    kind: str | None = None

    def add_to(self, request: pb.GenerateRequest) -> None:
        """Set the task of a request."""
        request.control.CopyFrom(
            pb.Control(
                image=to_source(self.image),
                edges=_edges(self.edges),
                edges_only=self.edges_only,
                strength=self.strength,
                control_kind=self.kind,
            )
        )


@dataclass(frozen=True, slots=True)
class Upscale:
    """A picture enlarged, with generated detail; `fidelity` 1 (much is generated) to 9 (nearly plain)."""

    image: Source
    fidelity: int | None = None

    def add_to(self, request: pb.GenerateRequest) -> None:
        """Set the task of a request."""
        request.upscale.CopyFrom(pb.Upscale(image=to_source(self.image), fidelity=self.fidelity))


@dataclass(frozen=True, slots=True)
class Outpaint:
    """A picture continued beyond its borders."""

    image: Source
    edges: Edges | None = None

    def add_to(self, request: pb.GenerateRequest) -> None:
        """Set the task of a request."""
        request.outpaint.CopyFrom(pb.Outpaint(image=to_source(self.image), edges=_edges(self.edges)))


@dataclass(frozen=True, slots=True)
class Edit:
    """A picture resized, cut out, or written in another format: nothing is generated."""

    image: Source
    remove_background: Literal["auto", "human", "item"] | None = None

    def add_to(self, request: pb.GenerateRequest) -> None:
        """Set the task of a request."""
        request.edit.CopyFrom(pb.Edit(image=to_source(self.image)))
        if self.remove_background is not None:
            request.background.remove = pb.Removal.Value(f"REMOVAL_{self.remove_background.upper()}")


Task: TypeAlias = ImageToImage | Inpaint | GenerateBackground | Face | FaceSwap | Control | Upscale | Outpaint | Edit


def _edges(edges: Edges | None) -> pb.Edges | None:
    return None if edges is None else edges.to_proto()
