"""What every request gets, whatever its path: an id, a log line, and a flat answer to what nobody expected."""

import re
import time
import uuid

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway import errors

# The orchestrator's rule for request_id; an id of another form is replaced rather than refused: a header that the
# documented API does not know must not break a request.
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_PROBES = frozenset({"/healthz", "/readyz"})

_log = structlog.get_logger()


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
        status: int | None = None

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
            await send(message)

        started = time.perf_counter()
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, receive, send_with_id)
            except ClientDisconnect:
                _log.info("client disconnected before its request was read")
            except Exception:
                _log.exception("request failed")
                if status is not None:
                    raise  # half an answer is out: only closing the connection can inform the client
                unexpected = errors.internal(request_id)
                await JSONResponse(unexpected.body, unexpected.status)(scope, receive, send_with_id)
            finally:
                _log_request(scope, status, time.perf_counter() - started)


def _request_id(scope: Scope) -> str:
    """The client's X-Request-ID if it has the right form, else a new one."""
    given = Headers(scope=scope).get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else str(uuid.uuid4())


def _log_request(scope: Scope, status: int | None, seconds: float) -> None:
    """Log one line. The route replaces the path: the name of a result is the permission to read it."""
    route = getattr(scope.get("route"), "path", "other")
    log = _log.debug if route in _PROBES else _log.info
    log("request", method=scope["method"], route=route, status=status, seconds=round(seconds, 4))
