"""Methods of HTTP that every path has: HEAD wherever GET is, OPTIONS; what a path allows (RFC 9110, 9 and 10.2.1)."""

from collections.abc import Iterable, Mapping, Sequence

from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_METHODS = ("DELETE", "GET", "PATCH", "POST", "PUT")
_IS_HEAD = "imagegen.is_head"
_SEEN = ("accept-ranges", "content-length", "content-range", "etag", "retry-after", "x-request-id")
MAX_AGE = 600
"""Seconds for which a browser may remember what it may send."""


class HeadAsGet:
    """ASGI middleware: HEAD is answered as GET, without a body. Whoever would stream asks `is_head` and does not."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def send_head(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        await self._app({**scope, "method": "GET", _IS_HEAD: True}, receive, send_head)


def is_head(request: Request) -> bool:
    """Whether a GET that a path is asked for was a HEAD."""
    return bool(request.scope.get(_IS_HEAD, False))


def allowed(routes: Iterable[BaseRoute], scope: Scope) -> Mapping[str, str]:
    """The header Allow of a path: all methods that some route takes there, and OPTIONS."""
    known = list(routes)
    found = {method for method in _METHODS if _takes(known, scope, method)}
    return {"Allow": ", ".join(sorted(found | {"OPTIONS"} | ({"HEAD"} if "GET" in found else set())))}


def with_cors(app: ASGIApp, origins: Sequence[str]) -> ASGIApp:
    """Let pages of these origins call every path (Fetch, 3.3); "*" is any.

    Cookies are never meant, so a page may send whatever header its library adds.
    """
    return CORSMiddleware(
        app,
        allow_origins=origins,
        allow_methods=["DELETE", "GET", "HEAD", "POST"],
        allow_headers=["*"],
        expose_headers=_SEEN,
        max_age=MAX_AGE,
    )


def _takes(routes: Sequence[BaseRoute], scope: Scope, method: str) -> bool:
    as_method = {**scope, "method": method}
    return any(route.matches(as_method)[0] is Match.FULL for route in routes)
