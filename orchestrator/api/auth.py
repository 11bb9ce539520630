"""The one interceptor: who calls, under which request id, and how errors leave. For every method alike."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterable
from contextvars import ContextVar
from typing import Any

import grpc
import structlog
from google.protobuf.message import Message
from grpc_status import rpc_status

from common import tracing
from orchestrator import metrics
from orchestrator.accounts.account import Account
from orchestrator.accounts.authentication import Accounts
from orchestrator.api import converters, messages, status
from orchestrator.api.peers import peer_of
from orchestrator.api.receiving import MAX_LARGE, Receiver
from orchestrator.errors import ImagegenError, InvalidRequestError, MessageLateError, Violation
from orchestrator.params import is_request_id

API_KEY, REQUEST_ID = "x-api-key", "x-request-id"

OPEN_METHODS = frozenset({"/imagegen.v1.JobService/ReadResult"})
"""A result's unguessable name is the permission to read it. Health and reflection, which reveal nothing of anybody, are
not methods of ours, and open as well."""
PICTURE_METHODS = frozenset(
    {
        "/imagegen.v1.GenerationService/Generate",
        "/imagegen.v1.JobService/CreateJob",
        "/imagegen.v1.JobService/EstimateJob",
        "/imagegen.v1.ProvenanceService/Verify",
    }
)
"""Whose messages carry pictures."""

account: ContextVar[Account] = ContextVar("account")
"""Account of the running call. Open methods have none."""

request_id: ContextVar[str] = ContextVar("request_id", default="")
"""Request id of the running call: its metadata's, if that has the right form, or drawn."""

is_named: ContextVar[bool] = ContextVar("is_named", default=False)
"""Whether request_id is the metadata's."""

log = structlog.get_logger()

Context = grpc.aio.ServicerContext[Any, Any]
Handler = Any  # grpc's stubs type handlers for the synchronous API only


def rename(name: str) -> None:
    """Override the request id of the running call, in its log lines and its errors."""
    name = name[: status.MAX_REQUEST_ID]
    request_id.set(name)
    structlog.contextvars.bind_contextvars(request_id=name)


class EdgeInterceptor(grpc.aio.ServerInterceptor):
    """Authenticates, names, logs and measures each call, receives its message, and answers errors of the tree."""

    def __init__(self, accounts: Accounts, max_message_bytes: int, *, large: int = MAX_LARGE) -> None:
        """Guard all methods of a server.

        Args:
            accounts: who may call.
            max_message_bytes: largest message of a method that takes pictures.
            large: such messages that are received at a time.
        """
        self._accounts, self._max_message_bytes = accounts, max_message_bytes
        self._receiver = Receiver(large)

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """Wrap the handler of a method.

        gRPC calls this when the headers have come, before it asks for the message: a caller without a right key is
        refused here, and what else they send is never taken. To gRPC every method is one that takes a stream: of such
        a method it receives no message before that is asked for.
        """
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        edge = _Edge(handler_call_details.method, handler_call_details.invocation_metadata)
        refusal = await edge.authenticate(self._accounts)
        answer = self._answer(edge, handler) if refusal is None else _refuse(edge, refusal)
        return grpc.stream_stream_rpc_method_handler(answer, response_serializer=handler.response_serializer)

    def _answer(self, edge: "_Edge", handler: Handler) -> Callable[[object, Context], Awaitable[None]]:
        kind: type[Message] = handler.request_deserializer.__self__  # of the generated code: Message.FromString

        async def answer(_messages: object, context: Context) -> None:
            error = await edge.run(self._serve(edge, handler, kind, context))
            if error is not None:
                await edge.fail(error, context)

        return answer

    async def _serve(self, edge: "_Edge", handler: Handler, kind: type[Message], context: Context) -> None:
        if handler.request_streaming:
            answers = handler.stream_stream(self._messages(edge, context, kind), context)
        else:
            call = handler.unary_stream if handler.response_streaming else handler.unary_unary
            message = await self._message(edge, context, kind)
            if message is None:
                raise InvalidRequestError(Violation("request", "is missing"))
            answers = call(message, context)
            del message
        if not handler.response_streaming:
            await context.write(await answers)
            return
        # Closed here and now when the client disconnects, not when the garbage collector comes by.
        async with contextlib.aclosing(answers):
            async for each in answers:
                await context.write(each)

    async def _message(self, edge: "_Edge", context: Context, kind: type[Message]) -> Message | None:
        """The next message of a call; None if its client sends no more."""
        data = await self._receive(edge, context)
        return None if data is None else messages.decode(data, kind)

    async def _receive(self, edge: "_Edge", context: Context) -> bytes | None:
        if edge.is_open:
            return await self._receiver.open(context, peer_of(context.peer()))
        if edge.method in PICTURE_METHODS:
            return await self._receiver.large(context, account.get().id, self._max_message_bytes)
        return await self._receiver.small(context, account.get().id)

    async def _messages(self, edge: "_Edge", context: Context, kind: type[Message]) -> AsyncGenerator[Message, None]:
        """The messages of a client that sends several; the stream ends as well when it pauses for too long."""
        with contextlib.suppress(MessageLateError):
            while (message := await self._message(edge, context, kind)) is not None:
                yield message


def _refuse(edge: "_Edge", error: ImagegenError) -> Callable[[object, Context], Awaitable[None]]:
    async def answer(_messages: object, context: Context) -> None:
        await edge.fail(error, context)

    return answer


class _Edge:
    """What surrounds one call. gRPC runs the interceptor and the handler of a call in one task, so in one context."""

    def __init__(self, method: str, metadata: Iterable[tuple[str, str | bytes]] | None) -> None:
        self.method = method
        self._is_ours = method.startswith("/imagegen.")
        self.is_open = not self._is_ours or method in OPEN_METHODS
        self._metadata = {key: value for key, value in metadata or () if isinstance(value, str)}
        self._start = time.perf_counter()

    async def authenticate(self, accounts: Accounts) -> ImagegenError | None:
        """Set who calls and under which id; what speaks against it, if anything does."""
        given = self._metadata.get(REQUEST_ID, "")
        is_named.set(is_request_id(given))
        request_id.set(given if is_named.get() else converters.new_request_id())
        structlog.contextvars.bind_contextvars(rpc=self.method, request_id=request_id.get())
        if self.is_open:
            return None
        try:
            account.set(await accounts.authenticate(self._metadata.get(API_KEY)))
        except ImagegenError as error:
            return error
        except Exception as error:  # noqa: BLE001 - whatever it is, it opens nothing
            return _crash(error)
        return None

    async def run(self, work: Coroutine[Any, Any, None]) -> ImagegenError | None:
        """Do the work of the call, and measure it; the error that it ends with, if it does.

        The error comes without its traceback: gRPC keeps it until the garbage collector comes by, and the frames would
        keep the message, which may be a picture.
        """
        try:
            with tracing.span(
                self.method[1:], "server", parent=tracing.chosen(self._metadata), attributes=self._facts()
            ):
                await work
        except ImagegenError as error:
            found = error
        except (asyncio.CancelledError, GeneratorExit):
            self._observe("CANCELLED")
            raise
        except grpc.aio.AbortError:
            raise
        except Exception as error:  # noqa: BLE001 - a client sees none of it
            found = _crash(error)
        else:
            self._observe("OK")
            return None
        found.__traceback__ = found.__context__ = found.__cause__ = None
        return found

    def _facts(self) -> dict[str, str]:
        """Attributes of the call's span."""
        service, _, name = self.method[1:].partition("/")
        return {"rpc.system": "grpc", "rpc.service": service, "rpc.method": name, "request.id": request_id.get()}

    async def fail(self, error: ImagegenError, context: Context) -> None:
        """End the call with an error."""
        answer = rpc_status.to_status(status.to_status(error, request_id.get()))
        self._observe(answer.code.name)
        await context.abort_with_status(answer)

    def _observe(self, code: str) -> None:
        if self._is_ours:
            seconds = time.perf_counter() - self._start
            metrics.RPC.labels(self.method, code).observe(seconds, exemplar=tracing.exemplar())


def _crash(error: Exception) -> ImagegenError:
    log.error("rpc_crashed", exc_info=error)
    return ImagegenError("internal error")
