"""Each task's message to its params."""

from collections.abc import Callable, Mapping
from typing import Any

from imagegen.v1 import generation_pb2 as pb
from orchestrator import params
from orchestrator.api.converters.pictures import given, to_color, to_edges, to_source
from orchestrator.api.converters.tables import ENLARGEMENTS, choice


def _text_to_image(_: pb.TextToImage) -> params.TextToImage:
    return params.TextToImage()


def _image_to_image(task: pb.ImageToImage) -> params.ImageToImage:
    return params.ImageToImage(
        image=to_source(task.image),
        references=tuple(map(to_source, task.references)),
        edges=to_edges(task),
        **given(task, "strength", "likeness"),
    )


def _inpaint(task: pb.Inpaint) -> params.Inpaint:
    return params.Inpaint(
        image=to_source(task.image),
        mask=to_source(task.mask),
        references=tuple(map(to_source, task.references)),
        edges=to_edges(task),
        **given(task, "strength", "mask_by_opacity", "likeness"),
    )


def _generate_background(task: pb.GenerateBackground) -> params.GenerateBackground:
    return params.GenerateBackground(
        image=to_source(task.image),
        color=to_color(task.color, "generate_background.color") if task.HasField("color") else None,
        edges=to_edges(task),
        **given(task, "item_area"),
    )


def _face(task: pb.Face) -> params.Face:
    return params.Face(image=to_source(task.image), edges=to_edges(task), **given(task, "face_only", "likeness"))


def _control(task: pb.Control) -> params.Control:
    return params.Control(
        image=to_source(task.image),
        edges=to_edges(task) or params.EdgesParams(),
        **given(task, "edges_only", "strength", "control_kind"),
    )


def _upscale(task: pb.Upscale) -> params.Upscale:
    return params.Upscale(image=to_source(task.image), **given(task, "fidelity"))


def _outpaint(task: pb.Outpaint) -> params.Outpaint:
    return params.Outpaint(image=to_source(task.image), edges=to_edges(task))


def _edit(task: pb.Edit) -> params.Edit:
    enlargement = choice(ENLARGEMENTS, task.enlargement, "edit.enlargement")
    return params.Edit(image=to_source(task.image), enlargement=enlargement)


def _face_swap(task: pb.FaceSwap) -> params.FaceSwap:
    face = to_source(task.face)
    return params.FaceSwap(image=to_source(task.image), face=face, **given(task, "strength", "likeness"))


TASKS: Mapping[str, Callable[[Any], params.Task]] = {
    "text_to_image": _text_to_image,
    "image_to_image": _image_to_image,
    "inpaint": _inpaint,
    "generate_background": _generate_background,
    "face": _face,
    "control": _control,
    "upscale": _upscale,
    "outpaint": _outpaint,
    "edit": _edit,
    "face_swap": _face_swap,
}
"""By the field of the oneof."""
