"""Requests as clients send them, turned into proto."""

from typing import Any

from gateway.contract import request as contract
from gateway.translate import request as translate
from imagegen.v1 import generation_pb2 as pb

URL = "https://pictures.example/a.png"
MASK = "https://pictures.example/mask.png"
IMAGE = pb.ImageSource(url=URL)
LIMIT = 2**20


def proto(document: object) -> pb.GenerateRequest:
    """The proto of a whole request."""
    return translate.to_proto(contract.parse(document), "id", LIMIT)


def warnings(document: object) -> tuple[str, ...]:
    """What a request's client is warned of."""
    return translate.translated(contract.parse(document), "id", LIMIT).warnings


def from_text(**top: Any) -> pb.GenerateRequest:
    """The proto of a request for a fox; `generate` changes background.generate, the rest is next to background."""
    generate = {"description": "a fox", **top.pop("generate", {})}
    background = {**top.pop("background", {}), "generate": generate}
    return proto({**top, "background": background})


def from_picture(adapter: str | None = None, **top: Any) -> pb.GenerateRequest:
    """The same with a picture, and with an adapter if it is named."""
    named = {} if adapter is None else {"adapter_type": adapter}
    if adapter == "inpainting":
        named["ip_image2"] = MASK
    return from_text(**{"url": URL, **top, "generate": {**named, **top.pop("generate", {})}})


def edited(**top: Any) -> pb.GenerateRequest:
    """The proto of a request that paints nothing."""
    return proto({"url": URL, **top})
