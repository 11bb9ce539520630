"""The one interceptor: who calls, under which request id, and how errors leave. For every method alike."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextvars import ContextVar
from typing import Any

import grpc
import structlog
from grpc_status import rpc_status

from orchestrator import metrics
from orchestrator.accounts.account import Account
from orchestrator.accounts.authentication import Accounts
from orchestrator.api import converters, status
from orchestrator.errors import ImagegenError
from orchestrator.params import is_request_id

API_KEY, REQUEST_ID = "x-api-key", "x-request-id"

OPEN_METHODS = frozenset({"/imagegen.v1.JobService/ReadResult"})
"""A result's unguessable name is the permission to read it. Health and reflection, which tell nothing of anybody, are
not methods of ours and pass the interceptor."""

account: ContextVar[Account] = ContextVar("account")
"""Account of the running call. Methods of OPEN_METHODS have none."""

request_id: ContextVar[str] = ContextVar("request_id", default="")
"""Request id of the running call: its metadata's, if that has the right form, or drawn."""

is_named: ContextVar[bool] = ContextVar("is_named", default=False)
"""Whether request_id is the metadata's."""

log = structlog.get_logger()

Context = grpc.aio.ServicerContext[Any, Any]
Handler = Any  # grpc's stubs type handlers for the synchronous API only


def rename(name: str) -> None:
    """Let the running call bear another request id, in its log lines and its errors."""
    request_id.set(name)
    structlog.contextvars.bind_contextvars(request_id=name)


class EdgeInterceptor(grpc.aio.ServerInterceptor):
    """Authenticates, names, logs and measures each call, and turns errors of the tree into google.rpc.Status."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """Wrap the handler of a method of ours; others pass.

        gRPC calls this when the headers have come, before it asks for the message: who has no right key is refused
        here, and what else he sends is never taken.
        """
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or not method.startswith("/imagegen."):
            return handler
        edge = _Edge(method, handler_call_details.invocation_metadata)
        refusal = await edge.authenticate(self._accounts)
        if refusal is not None:
            return grpc.stream_stream_rpc_method_handler(_refuse(edge, refusal))
        codecs = {
            "request_deserializer": handler.request_deserializer,
            "response_serializer": handler.response_serializer,
        }
        if handler.unary_stream is not None:
            return grpc.unary_stream_rpc_method_handler(_stream(edge, handler.unary_stream), **codecs)
        return grpc.unary_unary_rpc_method_handler(_unary(edge, handler.unary_unary), **codecs)


def _refuse(edge: "_Edge", error: ImagegenError) -> Callable[..., Awaitable[None]]:
    """Answer without reading: of all kinds of methods, one that takes a stream gets no message before it asks."""

    async def wrapped(_messages: object, context: Context) -> None:
        await edge.fail(error, context)

    return wrapped


def _unary(edge: "_Edge", call: Callable[[Any, Context], Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    async def wrapped(request: Any, context: Context) -> Any:  # noqa: ANN401  # any message
        async with edge.around(context):
            return await call(request, context)

    return wrapped


def _stream(
    edge: "_Edge", call: Callable[[Any, Context], AsyncGenerator[Any, None]]
) -> Callable[..., AsyncGenerator[Any, None]]:
    async def wrapped(request: Any, context: Context) -> AsyncGenerator[Any, None]:  # noqa: ANN401  # any message
        # The stream is closed here and now when the client hangs up, not when the garbage collector comes by.
        async with edge.around(context), contextlib.aclosing(call(request, context)) as messages:
            async for message in messages:
                yield message

    return wrapped


class _Edge:
    """What surrounds one call. gRPC runs the interceptor and the handler of a call in one task, so in one context."""

    def __init__(self, method: str, metadata: Iterable[tuple[str, str | bytes]] | None) -> None:
        self._method = method
        self._metadata = {key: value for key, value in metadata or () if isinstance(value, str)}
        self._start = time.perf_counter()

    async def authenticate(self, accounts: Accounts) -> ImagegenError | None:
        """Set who calls and under which id; what speaks against it, if anything does."""
        given = self._metadata.get(REQUEST_ID, "")
        is_named.set(is_request_id(given))
        request_id.set(given if is_named.get() else converters.new_request_id())
        structlog.contextvars.bind_contextvars(rpc=self._method, request_id=request_id.get())
        if self._method in OPEN_METHODS:
            return None
        try:
            account.set(await accounts.authenticate(self._metadata.get(API_KEY)))
        except ImagegenError as error:
            return error
        except Exception as error:  # noqa: BLE001 - whatever it is, it opens nothing
            return _crash(error)
        return None

    @contextlib.asynccontextmanager
    async def around(self, context: Context) -> AsyncGenerator[None, None]:
        """Measure the call, and answer what it raises."""
        try:
            yield
        except ImagegenError as error:
            await self.fail(error, context)
        except (asyncio.CancelledError, GeneratorExit):
            self._observe("CANCELLED")
            raise
        except grpc.aio.AbortError:
            raise
        except Exception as error:  # noqa: BLE001 - a client sees none of it
            await self.fail(_crash(error), context)
        else:
            self._observe("OK")

    async def fail(self, error: ImagegenError, context: Context) -> None:
        """End the call with an error."""
        answer = rpc_status.to_status(status.to_status(error, request_id.get()))
        self._observe(answer.code.name)
        await context.abort_with_status(answer)

    def _observe(self, code: str) -> None:
        metrics.RPC.labels(self._method, code).observe(time.perf_counter() - self._start)


def _crash(error: Exception) -> ImagegenError:
    log.error("rpc_crashed", exc_info=error)
    return ImagegenError("internal error")
