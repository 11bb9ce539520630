"""The paths. Each picture is a job; a request waits for its jobs, and cancels them when nobody waits any more."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Annotated, Final

import grpc
import structlog
from fastapi import APIRouter, Path, Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from gateway.openai import answers, forms, translate
from gateway.openai.answers import ImagesAnswer, ModelsAnswer, OpenAIModelAnswer, Stored
from gateway.openai.describe import edit_body, generation_body, responses
from gateway.openai.errors import (
    OpenAIRoute,
    from_grpc,
    from_job,
    model_not_found,
    timeout,
    unavailable,
)
from gateway.openai.forms import Form
from gateway.openai.requests import EditRequest, ImagesRequest, read
from gateway.openai.stream import Stream
from gateway.openai.translate import Asked
from gateway.routes import events
from gateway.routes.calls import Gateway, account_of, caller_of, gateway_of, own_preset, receive
from gateway.routes.openapi import OPENAI_TAG
from gateway.translate import presets as preset
from gateway.transport import body, idempotency
from gateway.upstream import waiting
from gateway.upstream.orchestrator import Caller
from imagegen.v1 import jobs_pb2

router = APIRouter(prefix="/v1", route_class=OpenAIRoute, tags=[OPENAI_TAG])

_FILES: Final = frozenset({"image", "mask"})
_log = structlog.get_logger()
_running: set[asyncio.Task[None]] = set()
"""Calls that cancel jobs, which go on when the request that they belong to has ended."""


@router.post("/images/generations", openapi_extra=generation_body(), **responses(ImagesAnswer, streams=True))
async def create_image(request: Request) -> Response:
    """Generate pictures from text."""
    return await _respond(request, ImagesRequest, "image_generation")


@router.post("/images/edits", openapi_extra=edit_body(), **responses(ImagesAnswer, streams=True))
async def create_image_edit(request: Request) -> Response:
    """Generate pictures from pictures and text."""
    return await _respond(request, EditRequest, "image_edit")


@router.get("/models", **responses(ModelsAnswer))
async def list_models(request: Request) -> Response:
    """List the model families."""
    return JSONResponse((await _models(request)).model_dump())


@router.get("/models/{model}", **responses(OpenAIModelAnswer))
async def retrieve_model(request: Request, model: Annotated[str, Path(description="Its id.")]) -> Response:
    """Describe one model family."""
    for each in (await _models(request)).data:
        if each.id == model:
            return JSONResponse(each.model_dump())
    raise model_not_found(f"{model[:64]!r} is not a model of this server; GET /v1/models lists them")


async def _models(request: Request) -> ModelsAnswer:
    gateway, caller = gateway_of(request), caller_of(request, bearer_first=True)
    try:
        families = (await gateway.orchestrator.families(caller)).families
    except grpc.aio.AioRpcError as error:
        raise from_grpc(error, caller.request_id) from None
    return answers.models(families, gateway.settings.openai_models)


async def _respond(request: Request, kind: type[ImagesRequest], event: str) -> Response:
    """Create the jobs of a request, and answer with their pictures."""
    gateway, caller = gateway_of(request), caller_of(request, bearer_first=True)
    key = request.headers.get(idempotency.HEADER)
    async with AsyncExitStack() as held:
        content = await receive(request, gateway, await account_of(gateway, caller), held)
        form = request.headers["content-type"] if body.is_multipart(request) else None
        sent = await body.run_off_loop(len(content), partial(_read, content, form, kind, gateway))
        own = await own_preset(preset.named(sent[0].extra), gateway, caller)
        asked = await body.run_off_loop(len(content), partial(_translate, *sent, own, gateway))
        await _set_previews(asked, gateway, caller)
        jobs = await _create(asked, gateway, caller, idempotency.read_key(key))
    structlog.contextvars.bind_contextvars(jobs=[job.job_id for job in jobs])
    kept = key is not None  # who has a key comes back for the pictures
    if asked.request.stream:
        chunks = Stream(gateway, asked, caller, event).events(jobs)
        return StreamingResponse(
            _cancelling(chunks, [] if kept else jobs, gateway, caller),
            headers=dict(events.HEADERS),
            media_type=events.MEDIA_TYPE,
        )
    return await _answer(request, asked, jobs, caller, kept=kept)


def _read(
    content: bytes | bytearray, form_type: str | None, kind: type[ImagesRequest], gateway: Gateway
) -> tuple[ImagesRequest, Form]:
    """Read a body; `form_type` is its Content-Type where it is a form."""
    if form_type is None:
        return read(body.parse_json(content), kind), Form()
    form = forms.parse(content, form_type, gateway.settings.max_input_bytes, _FILES)
    return read(form.fields, kind, form), form


def _translate(request: ImagesRequest, form: Form, own: str | None, gateway: Gateway) -> Asked:
    """Turn a request into proto; `own` is the preset of its account that it names."""
    settings = gateway.settings
    aliases, most = settings.openai_models, settings.max_input_bytes
    return translate.to_proto(request, form, gateway.presets, own, aliases, most)


async def _set_previews(asked: Asked, gateway: Gateway, caller: Caller) -> None:
    """Ask for previews at the interval that gives as many as the client wants. Needs the family's number of steps."""
    wanted, message = asked.request.partial_images, asked.message
    if not wanted or message.HasField("preview_interval"):
        return
    steps = message.steps
    if not message.HasField("steps"):
        try:
            families = (await gateway.orchestrator.families(caller)).families
        except grpc.aio.AioRpcError as error:
            raise from_grpc(error, caller.request_id) from None
        found = [family for family in families if family.name == message.family] or families[:1]
        steps = found[0].default_steps if found else 0
    task = getattr(message, message.WhichOneof("task") or "")
    share = task.strength if "strength" in task.DESCRIPTOR.fields_by_name and task.HasField("strength") else 1.0
    message.preview_interval = max(1, int(steps * min(share, 1.0)) // (wanted + 1))


async def _create(asked: Asked, gateway: Gateway, caller: Caller, key: str) -> list[jobs_pb2.Job]:
    """Queue the pictures of a request, all or none, in the order of their seeds."""
    notes = jobs_pb2.ClientNotes(warnings=asked.warnings, field_names=asked.names.sent_as)
    message = jobs_pb2.CreateJobRequest(request=asked.message, webhook=asked.webhook, n=asked.request.n, notes=notes)
    message.request.request_id = key
    try:
        first = await gateway.orchestrator.create(message, caller, gateway.settings.rest_retry_seconds)
    except grpc.aio.AioRpcError as error:
        raise from_grpc(error, caller.request_id, asked.names) from None
    return [first, *first.siblings]


async def _answer(
    request: Request, asked: Asked, jobs: Sequence[jobs_pb2.Job], caller: Caller, *, kept: bool
) -> Response:
    """Wait for the jobs, and answer with their pictures."""
    gateway = gateway_of(request)
    try:
        ended = await waiting.wait_for_all(
            gateway.orchestrator,
            jobs,
            caller,
            gateway.settings.openai_wait_seconds,
            waiting.client_gone(request),
            waiting.stopping(gateway.shutdown.stopping),
        )
    except BaseException as error:
        if not kept:
            _cancel(jobs, gateway, caller)
        if isinstance(error, grpc.aio.AioRpcError):
            raise from_grpc(error, caller.request_id) from None
        raise
    if any(job.state not in waiting.ENDED for job in ended):
        if not kept:
            _cancel(ended, gateway, caller)
        if gateway.shutdown.stopping.is_set():
            raise unavailable("The server is stopping; send the request again")
        raise timeout("The pictures were not finished in time: use stream, or a job (POST /rest_api/process)")
    for job in ended:
        if job.state != jobs_pb2.JOB_STATE_SUCCEEDED:
            raise from_job(job, caller.request_id, asked.names)
    if asked.request.response_format == "url":
        return Response(answers.by_address(asked.request, ended), media_type="application/json")
    stored = await asyncio.gather(*(Stored.open(gateway.orchestrator, job, caller) for job in ended))
    return StreamingResponse(answers.by_bytes(asked.request, stored), media_type="application/json")


async def _cancelling(
    chunks: AsyncIterator[bytes], jobs: Sequence[jobs_pb2.Job], gateway: Gateway, caller: Caller
) -> AsyncIterator[bytes]:
    """A stream, whose jobs are cancelled when it breaks."""
    try:
        async for chunk in chunks:
            yield chunk
    finally:
        _cancel(jobs, gateway, caller)


def _cancel(jobs: Sequence[jobs_pb2.Job], gateway: Gateway, caller: Caller) -> None:
    """Cancel jobs that nobody waits for, without waiting. Those that have ended stay as they are."""

    async def cancel() -> None:
        for job in jobs:
            try:
                await gateway.orchestrator.cancel(job.job_id, caller)
            except grpc.aio.AioRpcError as error:
                _log.warning("a job that nobody waits for was not cancelled", job=job.job_id, code=error.code().name)

    task = asyncio.get_running_loop().create_task(cancel())
    _running.add(task)
    task.add_done_callback(_running.discard)
