"""Answers in OpenAI's form. Pictures are read from the result store while they are sent, and never held whole."""

import base64
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import grpc
from pydantic import BaseModel, ConfigDict

from gateway.openai.errors import from_grpc, internal
from gateway.openai.requests import ImagesRequest
from gateway.upstream.orchestrator import Caller, Orchestrator
from imagegen.v1 import generation_pb2 as pb
from imagegen.v1 import jobs_pb2

USAGE: Final[dict[str, Any]] = {
    "input_tokens": 0,
    "input_tokens_details": {"image_tokens": 0, "text_tokens": 0},
    "output_tokens": 0,
    "total_tokens": 0,
}
"""Tokens are not counted here; OpenAI's clients expect the field."""
_B64 = "b64_json"


class ImageAnswer(BaseModel):
    """One picture.

    Attributes:
        b64_json: its file in base64, with response_format b64_json.
        url: where it is, with response_format url.
        revised_prompt: null: prompts stay as they are.
        seed: what gives this picture again.
        job: the job that generated it.
    """

    b64_json: str | None = None
    url: str | None = None
    revised_prompt: None = None
    seed: int
    job: str


class ImagesAnswer(BaseModel):
    """The pictures of a request.

    Attributes:
        created: seconds since 1970.
        data: the pictures, in the order of their seeds.
        background: transparent or opaque.
        output_format: of the files.
        quality: as it was asked for.
        size: of the pictures, WIDTHxHEIGHT in pixels.
        usage: zeros: tokens are not counted here.
        safety_identifier: as it was sent.
        warnings: known fields that the request's task does not use; null without one.
    """

    created: int
    data: list[ImageAnswer]
    background: str
    output_format: str
    quality: str
    size: str
    usage: dict[str, Any]
    safety_identifier: str | None = None
    warnings: list[str] | None = None


class OpenAIModelAnswer(BaseModel):
    """A model family, or another service's name for one.

    Attributes:
        id: what model takes.
        object: the word.
        created: 0: families have no date.
        owned_by: the word.
    """

    model_config = ConfigDict(protected_namespaces=())

    id: str
    object: str = "model"
    created: int = 0
    owned_by: str = "imagegen"


class ModelsAnswer(BaseModel):
    """All models; the first is the default.

    Attributes:
        object: the word.
        data: the models.
    """

    object: str = "list"
    data: list[OpenAIModelAnswer]


@dataclass(frozen=True, slots=True)
class Stored:
    """A picture in the result store, its first part read."""

    job: jobs_pb2.Job
    first: jobs_pb2.ReadResultResponse
    rest: AsyncGenerator[jobs_pb2.ReadResultResponse, None]

    @classmethod
    async def open(cls, orchestrator: Orchestrator, job: jobs_pb2.Job, caller: Caller) -> "Stored":
        """Begin to read the picture of a job that has succeeded.

        Raises:
            OpenAIError: it cannot be read.
        """
        name = urlsplit(job.artifact.uri).path.rsplit("/", 1)[-1]
        parts = orchestrator.read(name, Caller(None, caller.request_id))
        try:
            return cls(job, await anext(parts), parts)
        except grpc.aio.AioRpcError as error:
            raise from_grpc(error, caller.request_id) from None
        except StopAsyncIteration:
            raise internal(caller.request_id) from None

    async def base64(self) -> AsyncIterator[bytes]:
        """Its bytes in base64, in chunks."""
        left = self.first.data
        async with aclosing(self.rest) as rest:
            async for part in rest:
                left += part.data
                whole = len(left) // 3 * 3
                yield base64.b64encode(left[:whole])
                left = left[whole:]
        yield base64.b64encode(left)


def common(request: ImagesRequest, job: jobs_pb2.Job, created: int) -> dict[str, Any]:
    """What answer and last event report of a picture."""
    artifact = job.artifact
    formats = {pb.IMAGE_FORMAT_JPEG: "jpeg", pb.IMAGE_FORMAT_PNG: "png", pb.IMAGE_FORMAT_WEBP: "webp"}
    return {
        "created": created,
        "background": "transparent" if request.transparent else "opaque",
        "output_format": formats.get(artifact.format, request.output_format),
        "quality": request.quality,
        "size": f"{artifact.width}x{artifact.height}",
        "usage": USAGE,
        "safety_identifier": request.safety_identifier or request.user,
        **({"warnings": list(job.notes.warnings)} if job.notes.warnings else {}),
    }


def by_address(request: ImagesRequest, jobs: Sequence[jobs_pb2.Job]) -> bytes:
    """The answer with links."""
    data = [{"url": job.artifact.uri, **_about(job)} for job in jobs]
    return json.dumps({**common(request, jobs[0], int(time.time())), "data": data}).encode()


async def by_bytes(request: ImagesRequest, pictures: Sequence[Stored]) -> AsyncIterator[bytes]:
    """The answer with the pictures inside."""
    head = json.dumps(common(request, pictures[0].job, int(time.time())))
    yield f'{head[:-1]}, "data": ['.encode()
    for number, picture in enumerate(pictures):
        yield b", " if number else b""
        async for chunk in with_picture(_about(picture.job), picture):
            yield chunk
    yield b"]}"


async def with_picture(document: dict[str, Any], picture: Stored) -> AsyncIterator[bytes]:
    """A JSON object with a picture as its last field."""
    yield f'{json.dumps(document)[:-1]}, "{_B64}": "'.encode()
    async for chunk in picture.base64():
        yield chunk
    yield b'"}'


def models(families: Iterable[pb.Family], aliases: Iterable[str]) -> ModelsAnswer:
    """All models: the families, each with each of its LoRAs (FAMILY+LORA), and other names for them."""
    known = [
        name for family in families for name in (family.name, *(f"{family.name}+{lo.name}" for lo in family.loras))
    ]
    names = dict.fromkeys([*known, *aliases])
    return ModelsAnswer(data=[OpenAIModelAnswer(id=name) for name in names])


def _about(job: jobs_pb2.Job) -> dict[str, Any]:
    return {"revised_prompt": None, "seed": job.artifact.seed, "job": job.job_id}
