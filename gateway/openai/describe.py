"""What /openapi.json says of these paths."""

from typing import Any, Final

from pydantic import BaseModel

from gateway.openai.errors import ErrorResponse
from gateway.openai.requests import EditRequest, ImagesRequest
from gateway.openai.translate import SHORT
from gateway.routes import events
from gateway.transport.idempotency import HEADER
from gateway.transport.multipart import MEDIA_TYPE

_KEY_PARAMETER: Final[dict[str, Any]] = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "schema": {"type": "string", "pattern": r"^[A-Za-z0-9._:-]{1,128}$"},
    "description": "The same request again, with the same key, answers the same pictures. Jobs of a request with a key "
    "go on when its client has gone; others are cancelled.",
}
_BEYOND: Final[dict[str, Any]] = {
    "seed": {"type": "integer", "minimum": 0, "maximum": 2**63 - 1},
    "negative_prompt": {"type": "string"},
    "adapter": {"type": "string"},
    "strength": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
    "steps": {"type": "integer", "minimum": 1, "maximum": 150},
    "sampler": {"type": "string"},
    "guidance_scale": {"type": "number", "minimum": 0, "maximum": 50},
    "skip_tolerance": {"type": "number", "minimum": 0, "maximum": 1},
    "prompt_weights": {"type": "boolean"},
    "clip_skip": {"type": "integer", "minimum": 0, "maximum": 4},
    "loras": {
        "type": "array",
        "maxItems": 3,
        "items": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "weight": {"type": "number", "minimum": -4, "maximum": 4}},
            "required": ["name"],
        },
    },
    "guidance": {"type": "object"},
    "priority": {"type": "string", "enum": ["low", "normal", "high"]},
    "deadline_seconds": {"type": "number", "minimum": 0.1, "maximum": 86400},
}
_ERRORS: Final[dict[int, str]] = {
    400: "A field is wrong: param names it.",
    401: "No key, or an unknown one.",
    403: "The account may not do this.",
    404: "There is no such model.",
    408: "The body did not arrive in time.",
    409: "A job was cancelled before it ended.",
    413: "The body is too long.",
    415: "The body is neither JSON nor a form.",
    429: "Too many requests or jobs, with Retry-After; or not enough credits.",
    500: "Something went wrong here.",
    503: "The service cannot be reached right now. Retry-After says when to try again.",
    504: "It took too long.",
}
_OF_READING = (401, 403, 404, 429, 500, 503, 504)


def responses(model: type[BaseModel], *, streams: bool = False) -> dict[str, Any]:
    """Keyword arguments of a route; `streams` of one that takes a body and may answer with events."""
    statuses = _ERRORS if streams else {status: _ERRORS[status] for status in _OF_READING}
    found: dict[int | str, dict[str, Any]] = {
        status: {"model": ErrorResponse, "description": text} for status, text in statuses.items()
    }
    if streams:
        found[200] = {
            "description": "The pictures; with stream, events.",
            "content": {events.MEDIA_TYPE: {"schema": {"type": "string"}}},
        }
    return {"response_model": model, "responses": found}


def generation_body() -> dict[str, Any]:
    """The body of generations."""
    return {"parameters": [_KEY_PARAMETER], "requestBody": _body({"application/json": _schema(ImagesRequest)})}


def edit_body() -> dict[str, Any]:
    """The body of edits: a form with files, or JSON."""
    schema = _schema(EditRequest)
    files = {"type": "string", "format": "binary"}
    properties = {name: value for name, value in schema["properties"].items() if name != "images"}
    form = {
        **schema,
        "properties": {**properties, "image": {"type": "array", "items": files, "maxItems": 16}, "mask": files},
        "required": ["prompt", "image"],
    }
    return {"parameters": [_KEY_PARAMETER], "requestBody": _body({MEDIA_TYPE: form, "application/json": schema})}


def _body(schemas: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {"required": True, "content": {media_type: {"schema": schema} for media_type, schema in schemas.items()}}


def _schema(model: type[ImagesRequest]) -> dict[str, Any]:
    schema = model.model_json_schema(by_alias=False)
    schema["properties"] |= {name: _BEYOND[name] for name in SHORT}
    schema["additionalProperties"] = False
    return schema
