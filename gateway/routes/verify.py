"""POST /v1/verify: what marks of origin a picture carries."""

from contextlib import AsyncExitStack

import grpc
from fastapi import APIRouter, Request
from pydantic import BaseModel
from starlette.responses import JSONResponse, Response

from gateway.contract.answers import ErrorAnswer
from gateway.contract.blocks import Block
from gateway.errors import picture_required
from gateway.routes.calls import account_of, caller_of, gateway_of, receive
from gateway.routes.openapi import SERVICE_TAG
from gateway.translate import pictures
from gateway.translate.status import api_error
from gateway.transport import body, multipart
from imagegen.v1 import generation_pb2 as generation
from imagegen.v1 import provenance_pb2 as pb

router = APIRouter(prefix="/v1")

_ORIGINS = {pb.ORIGIN_GENERATED: "generated", pb.ORIGIN_COMPOSITE: "composite"}


class VerifyRequest(Block):
    """A picture; or send it as a file of a form, as POST /rest_api/process takes it."""

    url: str | None = None
    """An http or https URL, storage://NAME/PATH, "base64,<data>" or a data URI in base64."""


class XmpAnswer(BaseModel):
    """What the file's XMP states. It is not signed: anybody can write it.

    Attributes:
        digital_source_type: code of IPTC's vocabulary, such as trainedAlgorithmicMedia.
        software: that wrote it.
    """

    digital_source_type: str | None
    software: str | None


class ManifestAnswer(BaseModel):
    """What the file's C2PA manifest states.

    Attributes:
        valid: whether the signature and all hashes hold.
        trusted: whether the certificate leads to a CA that the operator trusts.
        issuer: organisation of the certificate.
        common_name: name of the certificate.
        software: that wrote the manifest.
        origin: generated, composite, or null.
        problems: what does not hold, in C2PA's status codes.
    """

    valid: bool
    trusted: bool
    issuer: str | None
    common_name: str | None
    software: str | None
    origin: str | None
    problems: list[str]


class InvisibleAnswer(BaseModel):
    """Whether the picture carries this service's invisible mark.

    Attributes:
        found: at most 5 of its 32 bits are wrong.
        wrong_bits: 0 to 32.
    """

    found: bool
    wrong_bits: int


class VerifyAnswer(BaseModel):
    """What marks a picture carries. Absence of marks proves nothing: most sites strip them.

    Attributes:
        origin: generated or composite, as the marks state it together; null where they state nothing.
        xmp: of the file; null if it has none.
        manifest: of the file; null if it has none.
        invisible: null if this service writes no invisible mark.
    """

    origin: str | None
    xmp: XmpAnswer | None
    manifest: ManifestAnswer | None
    invisible: InvisibleAnswer | None


_ERRORS = {
    400: "The picture cannot be fetched or read.",
    403: "No key.",
    404: "Unknown key.",
    503: "The service cannot be reached right now. Retry-After says when to try again.",
}


@router.post(
    "/verify",
    tags=[SERVICE_TAG],
    response_model=VerifyAnswer,
    responses={status: {"model": ErrorAnswer, "description": text} for status, text in _ERRORS.items()},
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": VerifyRequest.model_json_schema()},
                "multipart/form-data": {
                    "schema": {"type": "object", "properties": {"image": {"type": "string", "format": "binary"}}}
                },
            },
        }
    },
)
async def verify(request: Request) -> Response:
    """Report what marks of origin a picture carries, whether it is signed, and by whom."""
    gateway, caller = gateway_of(request), caller_of(request)
    async with AsyncExitStack() as held:
        content = await receive(request, gateway, await account_of(gateway, caller), held)
        form = request.headers["content-type"] if body.is_multipart(request) else None
        image = await body.run_off_loop(len(content), lambda: _image(content, form, gateway.settings.max_input_bytes))
        try:
            found = await gateway.orchestrator.verify(image, caller)
        except grpc.aio.AioRpcError as error:
            raise api_error(error, caller.request_id) from None
    return JSONResponse(_answer(found).model_dump())


def _image(content: bytearray, form: str | None, max_bytes: int) -> generation.ImageSource:
    """The picture of a body; `form` is its Content-Type where it is a form with files."""
    if form is not None:
        sent = multipart.parse(content, form, max_bytes)
        if sent.data is None:
            raise picture_required()
        return generation.ImageSource(data=sent.data)
    document = body.parse_json(content)
    url = document.get("url") if isinstance(document, dict) else None
    if not isinstance(url, str) or not url.strip():
        raise picture_required()
    return pictures.source(url, "url", max_bytes)


def _answer(found: pb.VerifyResponse) -> VerifyAnswer:
    xmp, manifest = found.xmp, found.manifest
    return VerifyAnswer(
        origin=_ORIGINS.get(found.origin),
        xmp=XmpAnswer(digital_source_type=xmp.digital_source_type or None, software=xmp.software or None)
        if found.HasField("xmp")
        else None,
        manifest=ManifestAnswer(
            valid=manifest.valid,
            trusted=manifest.trusted,
            issuer=manifest.issuer or None,
            common_name=manifest.common_name or None,
            software=manifest.software or None,
            origin=_ORIGINS.get(manifest.origin),
            problems=list(manifest.problems),
        )
        if found.HasField("manifest")
        else None,
        invisible=InvisibleAnswer(found=found.invisible.found, wrong_bits=found.invisible.wrong_bits)
        if found.HasField("invisible")
        else None,
    )
