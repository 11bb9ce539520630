"""Pictures of the result store over HTTP."""

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, Final

import grpc
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from gateway import errors
from gateway.contract.answers import ErrorAnswer
from gateway.errors import ApiError
from gateway.translate.status import api_error
from gateway.transport import methods
from gateway.transport.ranges import Part, UnsatisfiableError, wanted
from gateway.upstream.orchestrator import Caller, Orchestrator
from imagegen.v1 import jobs_pb2

# Only pictures are shown by their own type. Anything else would let a stored file act as a page of this site.
_TYPES = frozenset({"image/png", "image/jpeg", "image/webp"})
_THUMBNAIL_HEADERS = {
    # A job's picture never changes. Another key in the same browser is another reader.
    "Cache-Control": "private, max-age=86400, immutable",
    "Vary": "x-api-key, authorization",
    "X-Content-Type-Options": "nosniff",
}
_HEADERS = {
    # A name never gets other bytes; who knows it may keep them, a shared cache may not.
    "Cache-Control": "private, max-age=86400, immutable",
    "Accept-Ranges": "bytes",
    "Content-Disposition": "inline",
    "X-Content-Type-Options": "nosniff",
}

OPENAPI: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "The picture.", "content": {media_type: {} for media_type in sorted(_TYPES)}},
    206: {"description": "The part that Range asks for.", "content": {each: {} for each in sorted(_TYPES)}},
    304: {"description": "The client has it: If-None-Match names its ETag."},
    404: {"model": ErrorAnswer, "description": "No such picture any more."},
    416: {"model": ErrorAnswer, "description": "Range is beyond the end of the picture."},
    500: {"model": ErrorAnswer, "description": "The stored picture is corrupt; it is not sent."},
    503: {"model": ErrorAnswer, "description": "The service cannot be reached right now."},
}


THUMBNAIL_OPENAPI: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "The picture, its longer side 256 pixels or less.", "content": {"image/webp": {}}},
    304: {"description": "The client has it: If-None-Match names its ETag."},
    409: {"model": ErrorAnswer, "description": "The job has no picture, or one that is too large for a thumbnail."},
}


async def respond_small(orchestrator: Orchestrator, job: str, request: Request, caller: Caller) -> Response:
    """Answer with the small copy of the picture of a caller's job.

    Raises:
        ApiError: 404 if there is no such job; 409 if it has no picture, or one that is too large; else as it says.
    """
    try:
        found = await orchestrator.thumbnail(job, caller)
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.INVALID_ARGUMENT:
            raise errors.job_not_found() from None
        if error.code() is grpc.StatusCode.FAILED_PRECONDITION:
            message = f"Job {job} has no thumbnail: it has no picture, or one of more than 32 million pixels"
            raise ApiError(409, message) from None
        raise api_error(error, caller.request_id) from None
    headers = {**_THUMBNAIL_HEADERS, "ETag": f'"{hashlib.sha256(found.data).hexdigest()}"'}
    if (known := request.headers.get("if-none-match")) is not None and _matches(known, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return Response(found.data, headers=headers, media_type="image/webp")


async def respond(orchestrator: Orchestrator, name: str, request: Request, request_id: str) -> Response:
    """Answer with a picture, or the part of it that is asked for, in chunks as they come; HEAD has headers alone.

    What the client has already (If-None-Match; RFC 9110, 13.1.2) is not sent again.

    Args:
        orchestrator: has it.
        name: last part of its URL.
        request: for it.
        request_id: what logs know the request by.

    Raises:
        ApiError: 404 if there is no such picture, or what else went wrong before the first chunk.
    """
    parts = orchestrator.read(name, Caller(None, request_id))
    try:
        first = await anext(parts)
    except (grpc.aio.AioRpcError, StopAsyncIteration) as error:
        raise _refusal(error, request_id) from None
    asked, size = request.headers, first.file_size
    headers = {**_HEADERS, "ETag": f'"{first.sha256.hex()}"'}
    if (known := asked.get("if-none-match")) is not None and _matches(known, headers["ETag"]):
        await parts.aclose()
        return Response(status_code=304, headers=headers)
    is_head = methods.is_head(request)
    try:
        # Range has a meaning with GET alone (RFC 9110, 14.2).
        part = None if is_head else wanted(asked.get("range"), asked.get("if-range"), headers["ETag"], size)
    except UnsatisfiableError:
        await parts.aclose()
        message = f"The picture has {size} bytes, and none in the range that is asked for"
        raise ApiError(416, message, "RANGE_NOT_SATISFIABLE", headers={"Content-Range": f"bytes */{size}"}) from None
    media_type = first.content_type if first.content_type in _TYPES else "application/octet-stream"
    if is_head:
        await parts.aclose()
        return Response(headers={**headers, "Content-Length": str(size)}, media_type=media_type)
    if part is None:
        headers["Content-Length"] = str(size)
        return StreamingResponse(_bytes(first, parts), headers=headers, media_type=media_type)
    headers |= {"Content-Length": str(part.end - part.start), "Content-Range": part.header(size)}
    return StreamingResponse(_cut(_bytes(first, parts), part), 206, headers, media_type)


async def _bytes(
    first: jobs_pb2.ReadResultResponse, rest: AsyncGenerator[jobs_pb2.ReadResultResponse, None]
) -> AsyncGenerator[bytes, None]:
    """The bytes of the parts. Ends the call when the client has gone."""
    async with aclosing(rest):
        yield first.data
        async for part in rest:
            yield part.data


async def _cut(chunks: AsyncGenerator[bytes, None], part: Part) -> AsyncIterator[bytes]:
    """The bytes of a part."""
    position = 0
    async with aclosing(chunks):
        async for chunk in chunks:
            start, end = max(0, part.start - position), part.end - position
            position += len(chunk)
            if start < len(chunk):
                yield chunk[start:end]
            if position >= part.end:
                return


def _matches(known: str, etag: str) -> bool:
    """Whether If-None-Match names an entity tag; weak ones count (RFC 9110, 13.1.2)."""
    return known.strip() == "*" or etag in (each.strip().removeprefix("W/") for each in known.split(","))


def _refusal(error: Exception, request_id: str) -> ApiError:
    """Why there is no picture. A name that cannot be one, and a stream without a part, are no picture too."""
    if isinstance(error, grpc.aio.AioRpcError) and error.code() not in {
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.INVALID_ARGUMENT,
    }:
        return api_error(error, request_id)
    return ApiError(404, "Image not found")
