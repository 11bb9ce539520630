"""Pictures, colours, sizes and layouts of a request."""

from collections.abc import Sequence
from typing import Any

from google.protobuf.message import Message

from imagegen.v1 import generation_pb2 as pb
from orchestrator.api.converters.tables import FITS, GRAVITIES, HORIZONTAL, KINDS, METHODS, REMOVALS, VERTICAL, choice
from orchestrator.errors import InvalidRequestError, Violation
from orchestrator.params import (
    BackgroundParams,
    Caption,
    Color,
    EdgesParams,
    Enhancement,
    HorizontalPlace,
    ImageSource,
    LayoutParams,
    SafetyParams,
    SizeParams,
    VerticalPlace,
)


def given(message: Message, *names: str) -> dict[str, Any]:
    """The values of those fields that are set, by name."""
    return {name: getattr(message, name) for name in names if message.HasField(name)}


def to_source(source: pb.ImageSource) -> ImageSource:
    """Where a picture is; params refuse one that is nowhere."""
    return ImageSource(**given(source, "data", "url"))


def to_edges(task: Message) -> EdgesParams | None:
    """A task's edges; None where they do not steer."""
    edges: pb.Edges = task.edges  # type: ignore[attr-defined]  # every task that starts from a picture has them
    return EdgesParams(**given(edges, "scale", "low_threshold", "high_threshold")) if task.HasField("edges") else None


def to_color(color: pb.Color, field: str) -> Color:
    """A colour that is set.

    Raises:
        InvalidRequestError: it says nothing.
    """
    if color.HasField("rgba"):
        red, green, blue, alpha = color.rgba.to_bytes(4, "big")
        return Color(red, green, blue, alpha)
    if not color.auto:
        raise InvalidRequestError(Violation(field, "names no colour; set rgba, or auto to true"))
    return Color(auto=True)


def to_size(size: pb.Size) -> SizeParams:
    """Size of the result."""
    return SizeParams(**given(size, "width", "height", "width_percent", "height_percent", "min_length", "reorient"))


def to_layout(layout: pb.Layout) -> LayoutParams:
    """How the picture is fitted."""
    default = LayoutParams()
    return LayoutParams(
        fit=choice(FITS, layout.fit, "layout.fit") or default.fit,
        gravity=choice(GRAVITIES, layout.gravity, "layout.gravity") or default.gravity,
        **given(layout, "padding_pixels", "padding_share"),
    )


def to_background(background: pb.Background) -> BackgroundParams:
    """What happens to the background."""
    color, replace = background.color, background.replace
    return BackgroundParams(
        remove=choice(REMOVALS, background.remove, "background.remove"),
        color=to_color(color, "background.color") if background.HasField("color") else None,
        replace=to_source(replace) if background.HasField("replace") else None,
    )


def to_enhancements(enhancements: Sequence[pb.Enhancement]) -> tuple[Enhancement, ...]:
    """What is enhanced.

    Raises:
        InvalidRequestError: one names no kind.
    """
    return tuple(_to_enhancement(each, f"enhancements[{number}]") for number, each in enumerate(enhancements))


def to_caption(caption: pb.Caption) -> Caption:
    """What is laid over the result."""
    return Caption(
        image=to_source(caption.image),
        horizontal=choice(HORIZONTAL, caption.horizontal, "caption.horizontal") or HorizontalPlace.RIGHT,
        vertical=choice(VERTICAL, caption.vertical, "caption.vertical") or VerticalPlace.BOTTOM,
        **given(caption, "width_share", "padding_share", "padding_pixels", "opacity"),
    )


def to_safety(safety: pb.Safety) -> SafetyParams:
    """The filter."""
    replacement = to_source(safety.replacement) if safety.HasField("replacement") else None
    return SafetyParams(replacement=replacement, **given(safety, "enabled", "threshold", "inputs"))


def _to_enhancement(enhancement: pb.Enhancement, field: str) -> Enhancement:
    kind = choice(KINDS, enhancement.kind, f"{field}.kind")
    if kind is None:
        raise InvalidRequestError(Violation(f"{field}.kind", "is not set"))
    method = choice(METHODS, enhancement.method, f"{field}.method")
    return Enhancement(kind=kind, method=method, **given(enhancement, "level", "smoothing"))
