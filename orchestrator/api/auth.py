"""The one interceptor: who calls, under which request id, and how errors leave. For every method alike."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
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
"""Request id of the running call: its metadata's, if that has the right form, or drawn. GenerateRequest.request_id goes
before it."""

log = structlog.get_logger()

Context = grpc.aio.ServicerContext[Any, Any]
Handler = Any  # grpc's stubs type handlers for the synchronous API only


class EdgeInterceptor(grpc.aio.ServerInterceptor):
    """Authenticates, names, logs and measures each call, and turns errors of the tree into google.rpc.Status."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """Wrap the handler of a method of ours; others pass."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or not method.startswith("/imagegen."):
            return handler
        codecs = {
            "request_deserializer": handler.request_deserializer,
            "response_serializer": handler.response_serializer,
        }
        if handler.unary_stream is not None:
            return grpc.unary_stream_rpc_method_handler(self._stream(method, handler.unary_stream), **codecs)
        return grpc.unary_unary_rpc_method_handler(self._unary(method, handler.unary_unary), **codecs)

    def _unary(self, method: str, call: Callable[[Any, Context], Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def wrapped(request: Any, context: Context) -> Any:  # noqa: ANN401  # any message
            async with _Edge(self._accounts, method, context):
                return await call(request, context)

        return wrapped

    def _stream(
        self, method: str, call: Callable[[Any, Context], AsyncGenerator[Any, None]]
    ) -> Callable[..., AsyncGenerator[Any, None]]:
        async def wrapped(request: Any, context: Context) -> AsyncGenerator[Any, None]:  # noqa: ANN401  # any message
            # The stream is closed here and now when the client hangs up, not when the garbage collector comes by.
            async with _Edge(self._accounts, method, context), contextlib.aclosing(call(request, context)) as messages:
                async for message in messages:
                    yield message

        return wrapped


class _Edge:
    """What surrounds one call."""

    def __init__(self, accounts: Accounts, method: str, context: Context) -> None:
        self._accounts, self._method, self._context = accounts, method, context
        self._start = time.perf_counter()

    async def __aenter__(self) -> None:
        metadata = {key: value for key, value in self._context.invocation_metadata() or () if isinstance(value, str)}
        given = metadata.get(REQUEST_ID, "")
        request_id.set(given if is_request_id(given) else converters.new_request_id())
        structlog.contextvars.bind_contextvars(rpc=self._method, request_id=request_id.get())
        if self._method in OPEN_METHODS:
            return
        try:
            account.set(await self._accounts.authenticate(metadata.get(API_KEY)))
        except ImagegenError as error:
            await self._fail(error)

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        if error is None:
            self._observe("OK")
        elif isinstance(error, ImagegenError):
            await self._fail(error)
        elif isinstance(error, asyncio.CancelledError | GeneratorExit):
            self._observe("CANCELLED")
        elif not isinstance(error, grpc.aio.AbortError):
            log.error("rpc_crashed", exc_info=error)
            await self._fail(ImagegenError("internal error"))
        return False

    async def _fail(self, error: ImagegenError) -> None:
        answer = rpc_status.to_status(status.to_status(error, request_id.get()))
        self._observe(answer.code.name)
        await self._context.abort_with_status(answer)

    def _observe(self, code: str) -> None:
        metrics.RPC.labels(self._method, code).observe(time.perf_counter() - self._start)
