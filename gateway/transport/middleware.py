"""What every request gets, whatever its path: an id, a log line, and a flat answer to what nobody expected."""

import re
import time
import uuid
from dataclasses import dataclass

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from common import tracing
from gateway import errors, metrics

# The orchestrator's rule for request_id; an id of another form is replaced rather than refused: a header that the
# documented API does not know must not break a request.
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_PROBES = frozenset({"/healthz", "/readyz"})

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})

_log = structlog.get_logger()


@dataclass
class _Seen:
    """What was seen of a request: status of the answer, bytes of both bodies."""

    status: int | None = None
    received: int = 0
    sent: int = 0

    def report(self, method: str, route: str, seconds: float) -> None:
        """Count it. An answer that never began is of status 499: its client has gone."""
        labels = (route, method, str(self.status or 499))
        metrics.REQUESTS.labels(*labels).observe(seconds, exemplar=tracing.exemplar())
        if route not in _PROBES:
            metrics.RECEIVED.labels(route).observe(self.received)
            metrics.SENT.labels(route).observe(self.sent)


class RequestContext:
    """ASGI middleware. Puts the request id into scope["state"]["request_id"], the log and the header X-Request-ID."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        seen = _Seen()

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                seen.status = message["status"]
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
            seen.sent += len(message.get("body", b""))
            await send(message)

        async def receive_counted() -> Message:
            message = await receive()
            seen.received += len(message.get("body", b""))
            return message

        started = time.perf_counter()
        with (
            structlog.contextvars.bound_contextvars(request_id=request_id),
            metrics.OPEN.track_inprogress(),
            tracing.span(_method(scope), "server", parent=tracing.chosen(Headers(scope=scope))) as span,
        ):
            try:
                await self._app(scope, receive_counted, send_with_id)
            except ClientDisconnect:
                _log.info("client disconnected before its request was read")
            except Exception:
                _log.exception("request failed")
                if seen.status is not None:
                    raise  # half an answer is out: only closing the connection can inform the client
                unexpected = errors.internal(request_id)
                await JSONResponse(unexpected.body, unexpected.status)(scope, receive, send_with_id)
            finally:
                seconds, route = time.perf_counter() - started, getattr(scope.get("route"), "path", "other")
                _log_request(scope["method"], route, seen.status, seconds)
                seen.report(_method(scope), route, seconds)
                if span is not None:
                    span.update_name(f"{_method(scope)} {route}")
                    facts = {
                        "http.route": route,
                        "http.response.status_code": seen.status or 0,
                        "request.id": request_id,
                    }
                    span.set_attributes(facts)


def _request_id(scope: Scope) -> str:
    """The client's X-Request-ID if it has the right form, else a new one."""
    given = Headers(scope=scope).get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else str(uuid.uuid4())


def _method(scope: Scope) -> str:
    """The method as a label: clients can send any word."""
    return scope["method"] if scope["method"] in _METHODS else "other"


def _log_request(method: str, route: str, status: int | None, seconds: float) -> None:
    """Log one line. The route replaces the path: the name of a result is the permission to read it."""
    log = _log.debug if route in _PROBES else _log.info
    log("request", method=method, route=route, status=status, seconds=round(seconds, 4))
