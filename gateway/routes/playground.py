"""The playground: one page, in files that a browser reads as they are."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from fastapi import FastAPI
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

FILES: Final = Path(__file__).parents[1] / "page"

# Scripts, styles and calls of this host alone. Pictures may be of other https hosts: results can be in a bucket.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' blob: data: https:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def page_headers(policy: str) -> Mapping[str, str]:
    """Headers of a page of ours and its files; `policy` is its Content-Security-Policy."""
    return MappingProxyType(
        {
            "Content-Security-Policy": policy,
            "Cross-Origin-Opener-Policy": "same-origin",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "no-cache",  # kept, and asked about by its ETag
        }
    )


HEADERS: Final = page_headers(_POLICY)


def serve(app: FastAPI) -> None:
    """Serve the page at / and its files below /playground."""

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        """Give the page."""
        return FileResponse(FILES / "index.html", media_type="text/html; charset=utf-8", headers=dict(HEADERS))

    app.mount("/playground", _Files(directory=FILES))


class _Files(StaticFiles):
    """Files with the page's headers."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """See StaticFiles."""
        answer = await super().get_response(path, scope)
        answer.headers.update(HEADERS)
        return answer
