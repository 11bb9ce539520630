"""The ASGI application: routes, and the one shape of every error."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from common import VERSION
from gateway.config import Settings
from gateway.errors import ApiError
from gateway.openai import errors as openai_errors
from gateway.openai.routes import router as openai_router
from gateway.routes import deliveries, playground, reference_page, v1, verify
from gateway.routes.calls import Gateway, ShutdownSignals
from gateway.routes.documented import router
from gateway.routes.openapi import TAGS, DescribedFastAPI
from gateway.translate.presets import SHIPPED, Presets
from gateway.transport import methods
from gateway.transport.middleware import RequestContext
from gateway.transport.tls import client_credentials
from gateway.transport.upload_budget import Uploads
from gateway.upstream.known_keys import KnownKeys
from gateway.upstream.orchestrator import Orchestrator, open_channel

_CODES = {404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED"}


def create_app(settings: Settings, shutdown: ShutdownSignals) -> FastAPI:
    """Make the application.

    Args:
        settings: of this process.
        shutdown: its events are to be set when the process stops.

    Raises:
        SettingsError: a file of certificates or presets is missing or wrong.
    """
    credentials = client_credentials(settings)
    presets = Presets.load(SHIPPED, *([] if settings.presets is None else [settings.presets]))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_channel(settings.orchestrator, credentials) as channel:
            orchestrator = Orchestrator(channel)
            keys = KnownKeys(orchestrator, settings.rest_retry_seconds)
            uploads = Uploads(settings.rest_max_held_bytes, settings.rest_max_held_bytes // 2)
            app.state.gateway = Gateway(settings, orchestrator, shutdown, presets, keys, uploads)
            yield

    app = DescribedFastAPI(
        title="imagegen",
        summary="Pictures from text and from pictures, by the documented REST API.",
        version=VERSION,
        lifespan=lifespan,
        openapi_tags=TAGS,
        servers=[{"url": "/", "description": "This server."}],
        docs_url=None,  # FastAPI's pages load scripts from other hosts; ours is reference_page.py
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,  # what generated clients call their functions
    )
    app.include_router(router)
    app.include_router(v1.router)
    app.include_router(deliveries.router)
    app.include_router(verify.router)
    app.include_router(openai_router)
    playground.serve(app)
    reference_page.serve(app)
    app.add_middleware(methods.HeadAsGet)
    if settings.cors_origins:
        app.add_middleware(methods.with_cors, origins=settings.cors_origins)
    app.add_middleware(RequestContext)
    app.add_exception_handler(ApiError, _on_api_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    return app


async def _on_api_error(_: Request, error: Exception) -> Response:
    """Answer what a path has decided."""
    assert isinstance(error, ApiError)  # noqa: S101  # registered for it alone
    return JSONResponse(error.body, error.status, error.headers)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    """Answer what the router decides by itself: no such path, no such method."""
    assert isinstance(error, HTTPException)  # noqa: S101  # registered for it alone
    body = {"message": error.detail, "code": _CODES.get(error.status_code, "HTTP_ERROR")}
    headers = error.headers
    if error.status_code == 405:
        headers = methods.allowed(request.app.routes, request.scope)
        if request.method == "OPTIONS":
            return Response(status_code=204, headers=headers)
    found = openai_errors.refused_by_router(error.status_code, request.method, request.url.path)
    return JSONResponse(body if found is None else found.body, error.status_code, headers)


async def _on_validation_error(_: Request, error: Exception) -> Response:
    """Answer a parameter of the path or the query that FastAPI does not take."""
    assert isinstance(error, RequestValidationError)  # noqa: S101  # registered for it alone
    wrong = (f"{each['loc'][-1]} {each['msg'].replace('Input should be', 'must be', 1)}" for each in error.errors())
    return JSONResponse({"message": "; ".join(wrong), "code": "BAD_REQUEST"}, 400)
