"""The reference of the API at /docs: /openapi.json for readers, by RapiDoc, which is one file of this host."""

from pathlib import Path
from typing import Final

from fastapi import FastAPI
from starlette.responses import FileResponse, Response

from gateway.routes.playground import page_headers

FILES: Final = Path(__file__).parents[1] / "reference"

# Scripts and calls of this host alone. RapiDoc styles its own elements, and so needs inline styles, which cannot fetch
# anything from elsewhere under img-src and font-src.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; connect-src 'self'; "
    "img-src 'self' blob: data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS: Final = page_headers(_POLICY)


def serve(app: FastAPI) -> None:
    """Serve the page and its script."""

    @app.get("/docs", include_in_schema=False)
    async def page() -> Response:
        """Give the page."""
        return FileResponse(FILES / "index.html", media_type="text/html; charset=utf-8", headers=dict(HEADERS))

    @app.get("/docs/rapidoc.js", include_in_schema=False)
    async def script() -> Response:
        """Give its script."""
        return FileResponse(FILES / "rapidoc.js", media_type="text/javascript; charset=utf-8", headers=dict(HEADERS))
