"""A job's events over HTTP: server-sent events (WHATWG HTML, 9.2).

Each has the job's number of the event as its id, so that a client that comes back with Last-Event-ID misses nothing
that is still kept. The last one has the job's state as its name and the answer of GET /rest_api/result as its data.
"""

import asyncio
import base64
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing
from types import MappingProxyType
from typing import Any, Final

import grpc

from gateway import errors
from gateway.translate import jobs
from gateway.translate.status import api_error
from gateway.upstream.orchestrator import Caller, Orchestrator
from gateway.upstream.waiting import ENDED, PAUSE_SECONDS, UNREACHABLE
from imagegen.v1 import generation_pb2 as pb
from imagegen.v1 import jobs_pb2

MEDIA_TYPE = "text/event-stream"
_ENDS = ("complete", "failed", "cancelled", "deleted")
HEADERS: Mapping[str, str] = MappingProxyType({"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
"""Proxies shall not keep it, nor gather it before they pass it on."""
OPENAPI: Final[dict[str, Any]] = {
    "type": "object",
    "description": "Each event.",
    "required": ["id", "event", "data"],
    "properties": {
        "id": {"type": "string", "description": "Its number, or end: what Last-Event-ID takes."},
        "event": {"type": "string", "enum": ["queued", "started", "progress", "preview", *_ENDS]},
        "data": {"type": "string", "contentMediaType": "application/json", "description": "A JSON object."},
    },
}
PING_SECONDS = 15.0
"""Longest silence of a stream, then a comment line: proxies close what is silent."""
WATCH_SECONDS = 600.0
"""One call to the orchestrator; then the next one goes on where it ended."""
END = "end"
"""Id of the last event: whoever comes back with it has seen all there is."""
PING = b": \n\n"


def read_last_id(header: str | None) -> int | None:
    """The number of the last event that a client has seen; 0 for none, None if it has seen the end."""
    text = (header or "").strip()
    if text == END:
        return None
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


async def stream(
    orchestrator: Orchestrator, job: jobs_pb2.Job, caller: Caller, after: int, stopping: asyncio.Event
) -> AsyncIterator[bytes]:
    """What is sent: events until the job has ended or this process stops, and something in between.

    Args:
        orchestrator: to ask.
        job: as it was when the stream was asked for.
        caller: whose job it is.
        after: events up to this number are left out.
        stopping: ends the stream when it is set; the client comes back to another process.
    """
    stop = asyncio.ensure_future(stopping.wait())
    async with aclosing(_events(orchestrator, job, caller, after)) as events:
        coming = asyncio.ensure_future(anext(events, None))
        try:
            while True:
                await asyncio.wait({coming, stop}, timeout=PING_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                if coming.done():
                    event = coming.result()
                    if event is None:
                        return
                    yield event
                    coming = asyncio.ensure_future(anext(events, None))
                elif stop.done():
                    return
                else:
                    yield PING
        finally:
            coming.cancel()
            stop.cancel()
            await asyncio.gather(coming, stop, return_exceptions=True)


async def follow(
    orchestrator: Orchestrator, job: jobs_pb2.Job, caller: Caller, after: int = 0
) -> AsyncGenerator[pb.GenerateEvent | jobs_pb2.Job, None]:
    """Give the events of a job, through an orchestrator that restarts; and last the job, ended.

    Raises:
        grpc.aio.AioRpcError: the orchestrator refuses.
    """
    while True:
        # The stream ends when the job does (with its error, if it failed) or when the connection breaks: see GetJob.
        try:
            async with aclosing(orchestrator.watch(job.job_id, after, caller, WATCH_SECONDS)) as events:
                async for event in events:
                    after = max(after, event.sequence)
                    yield event
        except grpc.aio.AioRpcError:
            await asyncio.sleep(PAUSE_SECONDS)
        try:
            job = await orchestrator.get(job.job_id, caller)
        except grpc.aio.AioRpcError as error:
            if error.code() not in UNREACHABLE:
                raise
        else:
            if job.state in ENDED:
                yield job
                return


async def _events(
    orchestrator: Orchestrator, job: jobs_pb2.Job, caller: Caller, after: int
) -> AsyncGenerator[bytes, None]:
    """Events as they are sent."""
    try:
        async with aclosing(follow(orchestrator, job, caller, after)) as followed:
            async for found in followed:
                shown = _last(found) if isinstance(found, jobs_pb2.Job) else _event_of(found)
                if shown:
                    yield shown
    except grpc.aio.AioRpcError as error:
        yield _event(END, "failed", api_error(error, caller.request_id).body)


def _event_of(event: pb.GenerateEvent) -> bytes | None:
    """One event; None for those that the last one reports."""
    kind = event.WhichOneof("event")
    render = _RENDERERS.get(kind or "")
    return None if kind is None or render is None else _event(str(event.sequence), kind, render(getattr(event, kind)))


def _last(job: jobs_pb2.Job) -> bytes:
    """How it ended."""
    try:
        found = jobs.answer(job)
    except errors.ApiError as error:
        return _event(END, jobs.state_name(job.state), error.body)
    return _event(END, found.status, found.model_dump(exclude_none=True))


def _event(number: str, name: str, data: Mapping[str, Any]) -> bytes:
    return f"id: {number}\nevent: {name}\ndata: {json.dumps(data)}\n\n".encode()


def _queued(queued: pb.Queued) -> dict[str, Any]:
    wait = (
        {"estimated_wait_seconds": queued.estimated_wait_seconds} if queued.HasField("estimated_wait_seconds") else {}
    )
    return {"job": queued.job_id, "queue": queued.position, **wait}


def _started(started: pb.Started) -> dict[str, Any]:
    return {"seed": started.seed, "prompt_tokens_cut": started.prompt_tokens_cut}


def _progress(progress: pb.Progress) -> dict[str, Any]:
    return {"stage": jobs.stage_word(progress.stage), "step": progress.step, "total": progress.total}


def _preview(preview: pb.Preview) -> dict[str, Any]:
    return {"step": preview.step, "image": f"data:image/jpeg;base64,{base64.b64encode(preview.jpeg).decode()}"}


_RENDERERS: Mapping[str, Callable[[Any], dict[str, Any]]] = MappingProxyType(
    {"queued": _queued, "started": _started, "progress": _progress, "preview": _preview}
)
