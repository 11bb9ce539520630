"""What /openapi.json says beyond what FastAPI finds out by itself: the body, the errors, the key."""

from typing import Any, Final

from fastapi import FastAPI
from pydantic import BaseModel

from gateway.contract.answers import ErrorAnswer, FailedAnswer, JobAnswer
from gateway.contract.request import EXAMPLES, ProcessRequest
from gateway.transport import multipart
from gateway.transport.idempotency import HEADER

_REF = "#/components/schemas/{model}"
_KEY = "ApiKeyAuth"  # the name that the documented API's own description has for it
_BEARER = "BearerAuth"  # how OpenAI's clients send it
OPENAI_PATHS: Final = ("/v1/images", "/v1/models")

PICTURES_TAG, JOBS_TAG, WEBHOOKS_TAG = "Pictures", "Jobs", "Webhooks"
OPENAI_TAG, SERVICE_TAG = "OpenAI Images", "Service"
TAGS: Final[list[dict[str, Any]]] = [
    {"name": PICTURES_TAG, "description": "The documented API: pictures from text and from pictures."},
    {"name": JOBS_TAG, "description": "Jobs: listing them, their events, cancelling and deleting them."},
    {"name": WEBHOOKS_TAG, "description": "Deliveries of webhooks, and sending one again."},
    {"name": OPENAI_TAG, "description": "The OpenAI Images API over the same jobs."},
    {"name": SERVICE_TAG, "description": "The account, the model families, and whether the service is ready."},
]

POST_BODY: Final[dict[str, Any]] = {
    "parameters": [
        {
            "name": HEADER,
            "in": "header",
            "required": False,
            "schema": {"type": "string", "pattern": r"^[A-Za-z0-9._:-]{1,128}$"},
            "description": "The same key with the same body returns the job that was created the first time; with "
            "another body 400. For as long as the job is known.",
        }
    ],
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"$ref": _REF.format(model=ProcessRequest.__name__)},
                "examples": {f"documented {number}": {"value": value} for number, value in enumerate(EXAMPLES, 1)},
            },
            multipart.MEDIA_TYPE: {
                "schema": {
                    "type": "object",
                    "description": "The picture as a file, image or fileName, and everything else as JSON.",
                    "properties": {
                        **{name: {"type": "string", "format": "binary"} for name in multipart.FILES},
                        multipart.PARAMETERS: {"$ref": _REF.format(model=ProcessRequest.__name__)},
                    },
                },
                "encoding": {multipart.PARAMETERS: {"contentType": "application/json"}},
            },
        },
    },
}

ESTIMATE_BODY: Final[dict[str, Any]] = {"requestBody": POST_BODY["requestBody"]}


def job_answers(*, posts: bool, model: type[BaseModel] = JobAnswer) -> dict[str, Any]:
    """Keyword arguments of a route that answers about a job.

    Args:
        posts: it takes a body and creates the job.
        model: of the 200 answer.
    """
    errors = {
        403: "No key, or the account has sent as many requests as it may in a minute.",
        404: "Unknown key." if posts else "Unknown key, no such job, or its picture was removed.",
        503: "The service cannot be reached right now. Retry-After says when to try again.",
        504: "The service did not answer in time.",
    }
    if posts:
        errors |= {
            400: "The request is wrong; the message names the field. With a job: its picture showed it.",
            413: "The body is too long.",
            415: "The body is neither application/json nor multipart/form-data.",
            429: "Too much waits, or the account has as many jobs as it may. Retry-After says when to ask again.",
        }
    responses: dict[int | str, dict[str, Any]] = {
        status: {"model": ErrorAnswer, "description": text, **_given(status)} for status, text in sorted(errors.items())
    }
    if posts:
        responses[400]["model"] = FailedAnswer | ErrorAnswer
    responses[500] = {"model": FailedAnswer | ErrorAnswer, "description": "The job failed, or something broke here."}
    responses[500] |= _given(500)
    return {"response_model": model, "responses": responses}


_JOB = "5r3kM0m0Jt4hQ2d1Yv8ZsA"
_EXAMPLES: Final[dict[int, dict[str, Any]]] = {
    400: {
        "no picture": {"message": "File or image url is required"},
        "a wrong field": {"message": "quality must be from 0 to 100, not 101", "code": "BAD_REQUEST"},
        "no such preset": {"message": "Preset mine not found!", "code": "BAD_REQUEST"},
        "no credits": {"message": "The account has not enough credits", "code": "NOT_ENOUGH_CREDITS"},
    },
    403: {
        "no key": {"message": "No x-api-key header is provided"},
        "too many requests": {"message": "No more requests are available: the account may send 60 requests a minute"},
    },
    404: {
        "unknown key": {"message": "No user found for provided token"},
        "no such job": {"message": "Job not found"},
        "deleted": {"message": "Image deleted", "status": "complete"},
    },
    429: {
        "too many jobs": {
            "message": "Image cannot be processed right now. Your rate limit is 8 and you are currently processing 8 "
            "images.",
            "code": "TOO_MANY_REQUESTS",
        }
    },
    500: {
        "failed": {"message": "The picture could not be generated", "status": "failed", "job": _JOB},
        "broken": {"message": "Something went wrong here. Request id: 3f0c", "code": "INTERNAL_ERROR"},
    },
    503: {"away": {"message": "The orchestrator does not serve", "code": "SERVICE_UNAVAILABLE"}},
}


def _given(status: int) -> dict[str, Any]:
    """The examples of a status."""
    examples = {name: {"value": value} for name, value in _EXAMPLES.get(status, {}).items()}
    return {"content": {"application/json": {"examples": examples}}} if examples else {}


def account_answers(model: type[BaseModel]) -> dict[str, Any]:
    """Keyword arguments of the route that answers about the account."""
    errors = {
        403: "No key.",
        404: "Unknown key.",
        503: "The service cannot be reached right now. Retry-After says when to try again.",
    }
    responses = {status: {"model": ErrorAnswer, "description": text} for status, text in errors.items()}
    return {"response_model": model, "responses": responses}


class DescribedFastAPI(FastAPI):
    """FastAPI whose description fits what the paths do."""

    def openapi(self) -> dict[str, Any]:
        """Describe the API. Built once."""
        if self.openapi_schema is None:
            schema = super().openapi()
            _add_request(schema)
            _fix_operations(schema)
        return self.openapi_schema or {}


def _add_request(schema: dict[str, Any]) -> None:
    """Add the request's schema: the paths read the body themselves, so that FastAPI does not know it."""
    request = ProcessRequest.model_json_schema(ref_template=_REF)
    parts = schema["components"]["schemas"]
    parts |= request.pop("$defs")
    parts[ProcessRequest.__name__] = request
    # FastAPI's own shape of validation errors is never answered: see app.py.
    for name in ("HTTPValidationError", "ValidationError"):
        parts.pop(name, None)
    schema["components"]["securitySchemes"] = {
        _KEY: {"type": "apiKey", "in": "header", "name": "X-API-KEY"},
        _BEARER: {"type": "http", "scheme": "bearer"},
    }


def _fix_operations(schema: dict[str, Any]) -> None:
    """Name the key where it is asked for, and drop the answer that FastAPI adds by itself and that never comes."""
    for path, operations in schema["paths"].items():
        for operation in operations.values():
            operation["responses"].pop("422", None)
            if path.startswith(("/rest_api/", "/v1/")):
                operation["security"] = [{_KEY: []}, {_BEARER: []}]
            if path.startswith(OPENAI_PATHS):
                operation["security"] = [{_BEARER: []}, {_KEY: []}]
