"""What every path needs of its request: the gateway behind it, and on whose behalf it calls."""

import asyncio
import re
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Annotated

import grpc
from fastapi import Path
from starlette.requests import Request

from gateway import errors
from gateway.config import Settings
from gateway.translate.presets import Presets
from gateway.translate.status import api_error
from gateway.transport import body, encodings
from gateway.transport.upload_budget import Uploads
from gateway.upstream.known_keys import KnownKeys
from gateway.upstream.orchestrator import Caller, Orchestrator
from imagegen.v1 import jobs_pb2

_BEARER = re.compile(r"bearer +(\S+)", re.IGNORECASE)
JobId = Annotated[str, Path(description="The job, as an answer named it.")]


@dataclass(frozen=True, slots=True)
class ShutdownSignals:
    """How the process stops.

    Attributes:
        draining: set when it begins to; streams of events end, whose clients come back to another process.
        stopping: set when requests that wait have to answer now.
    """

    draining: asyncio.Event = field(default_factory=asyncio.Event)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True, slots=True)
class Gateway:
    """What the paths share: app.state.gateway.

    Attributes:
        settings: of this process.
        orchestrator: behind it.
        shutdown: of this process.
        presets: that requests may name.
        keys: whose they are.
        uploads: memory for the bodies of requests.
    """

    settings: Settings
    orchestrator: Orchestrator
    shutdown: ShutdownSignals
    presets: Presets
    keys: KnownKeys
    uploads: Uploads


def gateway_of(request: Request) -> Gateway:
    """The gateway that serves a request."""
    found = request.app.state.gateway
    assert isinstance(found, Gateway)  # noqa: S101  # state is untyped; app.py puts it there
    return found


def request_id_of(request: Request) -> str:
    """What logs know the request by."""
    return str(request.state.request_id)  # middleware.RequestContext puts it there


def caller_of(request: Request, *, bearer_first: bool = False) -> Caller:
    """Who asks, by x-api-key and Authorization: Bearer. Whether the key is known is for the orchestrator to say.

    Args:
        request: with the headers.
        bearer_first: which of them wins where both are sent.

    Raises:
        ApiError: there is no key, or one that gRPC metadata could not carry and so nobody can have.
    """
    found = _BEARER.fullmatch(request.headers.get("authorization", "").strip())
    keys = [request.headers.get("x-api-key", "").strip(), found[1] if found else ""]
    key = next(filter(None, reversed(keys) if bearer_first else keys), "")
    if not key:
        raise errors.KeyMissingError
    if not (len(key) <= 256 and key.isascii() and key.isprintable()):
        raise errors.KeyUnknownError
    return Caller(key, request_id_of(request))


async def account_of(gateway: Gateway, caller: Caller) -> str:
    """The name of a caller's account.

    Raises:
        ApiError: the key is nobody's, or the orchestrator cannot say whose it is.
    """
    try:
        account = await gateway.keys.account_of(caller)
    except grpc.aio.AioRpcError as error:
        raise api_error(error, caller.request_id) from None
    if account is None:
        raise errors.KeyUnknownError
    return account


async def own_preset(name: str | None, gateway: Gateway, caller: Caller) -> str | None:
    """JSON of the preset of that name that the caller's account has of its own; None for none.

    Raises:
        ApiError: the orchestrator cannot say.
    """
    if name is None:
        return None
    try:
        return await gateway.orchestrator.preset(gateway.presets.named(name), caller)
    except grpc.aio.AioRpcError as error:
        raise api_error(error, caller.request_id) from None


async def receive(request: Request, gateway: Gateway, account: str, held: AsyncExitStack) -> bytearray:
    """Read the body of a request of an account; `held` gives its memory back when it is closed.

    Raises:
        ApiError: as body.read; 503 if there is no memory for it; 415 for an unknown Content-Encoding.
    """

    def hold(size: int) -> Awaitable[None]:
        return held.enter_async_context(gateway.uploads.hold(account, size))

    limits = body.Limits(gateway.settings.rest_max_body_bytes, gateway.settings.rest_min_upload_rate)
    coding = encodings.check(request.headers.get("content-encoding"))
    if not coding:
        return await body.read(request, limits, hold)
    await hold(limits.size)  # as much as may come out of it: whoever holds some does not wait for more
    content = await body.read(request, limits, _nothing)
    return await asyncio.to_thread(encodings.decompressed, content, coding, limits.size)


async def _nothing(_: int) -> None:
    """Hold nothing more."""


async def call_for_job(call: Awaitable[jobs_pb2.Job], caller: Caller) -> jobs_pb2.Job:
    """What the orchestrator says of a job.

    Raises:
        ApiError: the call failed. An id that cannot be one of a job's is one of no job.
    """
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.INVALID_ARGUMENT:
            raise errors.job_not_found() from None
        raise api_error(error, caller.request_id) from None
