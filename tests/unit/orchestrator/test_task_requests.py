"""Each task's message to its params: what is set, what is left to the default, what is wrong."""

from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from imagegen.v1 import generation_pb2 as pb
from orchestrator.api import converters
from orchestrator.errors import InvalidRequestError
from orchestrator.params import (
    Color,
    Control,
    EdgesParams,
    Edit,
    Enlargement,
    Face,
    FaceSwap,
    GenerateBackground,
    ImageSource,
    ImageToImage,
    Inpaint,
    Limits,
    Outpaint,
    Task,
    TaskName,
    TextToImage,
    Upscale,
)

LIMITS = Limits(max_pixels=1000 * 1000, max_input_bytes=10_000)
BYTES, URL = pb.ImageSource(data=b"picture"), pb.ImageSource(url="https://pictures.example/a.png")
FILE, PLACE = ImageSource(data=b"picture"), ImageSource(url="https://pictures.example/a.png")
EDGES = pb.Edges(scale=0.0, low_threshold=0.0, high_threshold=4000.0)
STEER = EdgesParams(scale=0.0, low_threshold=0.0, high_threshold=4000.0)

BARE: list[tuple[Message, Task]] = [
    (pb.TextToImage(), TextToImage()),
    (pb.ImageToImage(image=URL), ImageToImage(image=PLACE, strength=0.6)),
    (pb.Inpaint(image=URL, mask=BYTES), Inpaint(image=PLACE, mask=FILE, strength=1.0)),
    (pb.GenerateBackground(image=URL), GenerateBackground(image=PLACE, item_area=None, color=None)),
    (pb.Face(image=URL), Face(image=PLACE, face_only=False, likeness=0.8)),
    (pb.Control(image=URL), Control(image=PLACE, edges=EdgesParams(scale=0.5), edges_only=False, strength=None)),
    (pb.Upscale(image=URL), Upscale(image=PLACE, fidelity=5)),
    (pb.Outpaint(image=URL), Outpaint(image=PLACE)),
    (pb.Edit(image=URL), Edit(image=PLACE, enlargement=None)),
    (pb.FaceSwap(image=URL, face=BYTES), FaceSwap(image=PLACE, face=FILE, strength=0.1, likeness=0.8)),
]
"""Only what is required, and what the schema says of the rest."""

FULL: list[tuple[Message, Task]] = [
    (pb.ImageToImage(image=BYTES, strength=1.0, edges=EDGES), ImageToImage(image=FILE, strength=1.0, edges=STEER)),
    (
        pb.ImageToImage(image=BYTES, references=[URL, BYTES], likeness=0.25),
        ImageToImage(image=FILE, references=(PLACE, FILE), likeness=0.25),
    ),
    (
        pb.Inpaint(image=BYTES, mask=URL, mask_by_opacity=True, references=[URL, BYTES], likeness=0.25),
        Inpaint(image=FILE, mask=PLACE, mask_by_opacity=True, references=(PLACE, FILE), likeness=0.25),
    ),
    (pb.Edit(image=BYTES, enlargement=pb.ENLARGEMENT_TEXT), Edit(image=FILE, enlargement=Enlargement.TEXT)),
    (
        pb.FaceSwap(image=BYTES, face=URL, strength=0.0, likeness=1.0),
        FaceSwap(image=FILE, face=PLACE, strength=0.0, likeness=1.0),
    ),
    (
        pb.Inpaint(image=BYTES, mask=URL, strength=0.1, edges=EDGES, mask_by_opacity=True),
        Inpaint(image=FILE, mask=PLACE, strength=0.1, edges=STEER, mask_by_opacity=True),
    ),
    (
        pb.GenerateBackground(image=BYTES, item_area=0.5, color=pb.Color(rgba=0x10203040), edges=EDGES),
        GenerateBackground(image=FILE, item_area=0.5, color=Color(0x10, 0x20, 0x30, 0x40), edges=STEER),
    ),
    (
        pb.GenerateBackground(image=BYTES, color=pb.Color(auto=True)),
        GenerateBackground(image=FILE, color=Color(auto=True)),
    ),
    (
        pb.Face(image=BYTES, face_only=True, likeness=0.0, edges=EDGES),
        Face(image=FILE, face_only=True, likeness=0.0, edges=STEER),
    ),
    (pb.Control(image=BYTES, edges=EDGES, strength=0.25), Control(image=FILE, edges=STEER, strength=0.25)),
    (pb.Control(image=BYTES, edges_only=True), Control(image=FILE, edges_only=True)),
    (pb.Control(image=BYTES, control_kind="depth"), Control(image=FILE, control_kind="depth")),
    (pb.Upscale(image=BYTES, fidelity=9), Upscale(image=FILE, fidelity=9)),
    (pb.Outpaint(image=BYTES, edges=EDGES), Outpaint(image=FILE, edges=STEER)),
]


def name(message: Message) -> str:
    """The field of the oneof that holds such a message."""
    (found,) = [field.name for field in ONEOF.fields if field.message_type is message.DESCRIPTOR]
    return found


ONEOF = pb.GenerateRequest.DESCRIPTOR.oneofs_by_name["task"]


def request(task: Message, **fields: Any) -> pb.GenerateRequest:
    return pb.GenerateRequest(**{"prompt": "a red house", name(task): task, **fields})


def refused(message: pb.GenerateRequest) -> list[str]:
    """Paths of the fields for which a request is refused."""
    try:
        converters.to_params(message, LIMITS)
    except InvalidRequestError as error:
        return [violation.field for violation in error.violations]
    return []


@pytest.mark.parametrize(("message", "task"), [*BARE, *FULL], ids=lambda value: type(value).__name__)
def test_a_task(message: Message, task: Task) -> None:
    params = converters.to_params(request(message), LIMITS)
    assert params.task == task
    assert params.task.name == name(message)


def test_every_task_of_the_schema_is_known() -> None:
    names = [field.name for field in ONEOF.fields]
    assert [name(message) for message, _ in BARE] == names == [*TaskName]


def test_every_field_of_a_task_is_used() -> None:
    """FULL sets each field of each message at least once; the pictures' own are ImageSource's."""
    for field in ONEOF.fields:
        messages = [message for message, _ in [*BARE, *FULL] if name(message) == field.name]
        used = {set_field.name for message in messages for set_field, _ in message.ListFields()}
        assert field.message_type is not None
        assert used == set(field.message_type.fields_by_name), field.name


@pytest.mark.parametrize("task", [message for message, _ in BARE[1:]], ids=lambda value: type(value).__name__)
def test_a_task_without_its_picture_is_refused(task: Message) -> None:
    bare = type(task)()
    others = {"inpaint": ["inpaint.mask"], "face_swap": ["face_swap.face"]}
    paths = [f"{name(task)}.image", *others.get(name(task), [])]
    assert refused(request(bare)) == paths


@pytest.mark.parametrize("task", [message for message, _ in BARE], ids=lambda value: type(value).__name__)
def test_who_may_go_without_a_prompt(task: Message) -> None:
    free = name(task) != "text_to_image"
    for prompt in ("", " \n"):
        assert refused(request(task, prompt=prompt)) == ([] if free else ["prompt"])


BAD: list[tuple[Message, str]] = [
    (pb.Edit(image=pb.ImageSource(data=b"")), "edit.image.data"),
    (pb.Edit(image=pb.ImageSource(data=b"x" * 10_001)), "edit.image.data"),
    (pb.Edit(image=pb.ImageSource(url="")), "edit.image.url"),
    (pb.Edit(image=pb.ImageSource(url="x" * 2049)), "edit.image.url"),
    (pb.Inpaint(image=URL, mask=pb.ImageSource(data=b"")), "inpaint.mask.data"),
    (pb.Inpaint(image=URL, mask=URL, strength=0.0), "inpaint.strength"),
    (pb.ImageToImage(image=URL, strength=1.1), "image_to_image.strength"),
    (pb.ImageToImage(image=URL, edges=pb.Edges(scale=1.1)), "image_to_image.edges.scale"),
    (pb.ImageToImage(image=URL, edges=pb.Edges(low_threshold=1)), "image_to_image.edges.high_threshold"),
    (pb.GenerateBackground(image=URL, item_area=0.0), "generate_background.item_area"),
    (pb.GenerateBackground(image=URL, color=pb.Color()), "generate_background.color"),
    (pb.Face(image=URL, likeness=float("nan")), "face.likeness"),
    (pb.Control(image=URL, edges=pb.Edges(scale=-0.1)), "control.edges.scale"),
    (pb.Control(image=URL, edges_only=True, strength=0.5), "control.strength"),
    (pb.Control(image=URL, control_kind=""), "control.control_kind"),
    (pb.Control(image=URL, control_kind="Depth"), "control.control_kind"),
    (pb.Control(image=URL, control_kind="d" * 33), "control.control_kind"),
    (pb.FaceSwap(image=URL, face=URL, strength=1.1), "face_swap.strength"),
    (pb.FaceSwap(image=URL, face=URL, likeness=-0.1), "face_swap.likeness"),
    (pb.ImageToImage(image=URL, likeness=2.0), "image_to_image.likeness"),
    (pb.ImageToImage(image=URL, references=[URL] * 4), "image_to_image.references"),
    (pb.Edit(image=URL, enlargement=99), "edit.enlargement"),  # type: ignore[arg-type]  # none of the enum's
    (pb.Upscale(image=URL, fidelity=0), "upscale.fidelity"),
    (pb.Upscale(image=URL, fidelity=10), "upscale.fidelity"),
]


@pytest.mark.parametrize(("task", "path"), BAD, ids=[path for _, path in BAD])
def test_what_is_wrong_is_named_by_a_path_of_the_schema(task: Message, path: str) -> None:
    assert refused(request(task)) == [path]
    descriptor: Descriptor | None = pb.GenerateRequest.DESCRIPTOR
    for part in path.split("."):
        assert descriptor is not None
        descriptor = descriptor.fields_by_name[part].message_type


def test_no_bytes_of_a_picture_stand_in_an_error() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        converters.to_params(request(pb.Edit(image=pb.ImageSource(data=b"secret" * 1000)), steps=0), LIMITS)
    assert "secret" not in str(caught.value)
    assert len(str(caught.value)) < 200
