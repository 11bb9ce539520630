"""A request of every task, for the families of adapters.toml."""

from collections.abc import Mapping
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message

from imagegen.v1 import generation_pb2 as pb
from orchestrator.server import Orchestrator
from tests.integration.pictures import box_mask, encode, scene
from tests.integration.stack import Client

Served = tuple[Orchestrator, Client]

SCENE = encode(scene())
FACE = encode(scene(faces=1))
MASK = encode(box_mask(96, 64, 30, 20, 70, 50))
EDGES = pb.Edges(scale=1.0)


def given(data: bytes) -> pb.ImageSource:
    return pb.ImageSource(data=data)


TASKS: Mapping[str, Message] = {
    "text_to_image": pb.TextToImage(),
    "image_to_image": pb.ImageToImage(image=given(SCENE), strength=0.5, edges=EDGES),
    "inpaint": pb.Inpaint(image=given(SCENE), mask=given(MASK)),
    "generate_background": pb.GenerateBackground(image=given(SCENE)),
    "face": pb.Face(image=given(FACE), face_only=True),
    "control": pb.Control(image=given(SCENE)),
    "upscale": pb.Upscale(image=given(SCENE)),
    "outpaint": pb.Outpaint(image=given(encode(scene(60, 60)))),
    "edit": pb.Edit(image=given(SCENE)),
}


def request(task: Message | str, **fields: Any) -> pb.GenerateRequest:
    """A request for 96 x 64 with seed 7; a task by its name is that of TASKS."""
    message = TASKS[task] if isinstance(task, str) else task
    (name,) = [field.name for field in ONEOF.fields if field.message_type is message.DESCRIPTOR]
    common = {"prompt": "a red apple", "size": pb.Size(width=96, height=64), "seed": 7}
    return pb.GenerateRequest(**{name: message, **common, **fields})


ONEOF = pb.GenerateRequest.DESCRIPTOR.oneofs_by_name["task"]


async def refusal(client: Client, wanted: pb.GenerateRequest) -> grpc.aio.AioRpcError:
    """The error that a request ends with."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.generate(wanted)
    return caught.value
