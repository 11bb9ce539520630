"""What a webhook is to report: where to, and the request that it is about."""

import json
from collections.abc import Mapping
from types import MappingProxyType

from gateway.contract.blocks import Webhooks
from gateway.contract.request import ProcessRequest
from gateway.errors import BadRequestError
from imagegen.v1 import jobs_pb2

MAX_DATA = 1024 * 1024
"""Bytes of JSON that go along with a job: the orchestrator's limit."""
MAX_UNASKED = 16 * 1024
"""The same where the request names no webhook: only the account's, if it has one, is used."""
MAX_TEXT = 2048
"""Of a longer request each text is cut to this many characters: what is longer is a picture inside the request."""

_EVENTS: Mapping[str, jobs_pb2.WebhookEvent.ValueType] = MappingProxyType(
    {"complete": jobs_pb2.WEBHOOK_EVENT_COMPLETE, "failed": jobs_pb2.WEBHOOK_EVENT_FAILED}
)


def to_proto(request: ProcessRequest, document: object) -> jobs_pb2.Webhook:
    """The webhook of a request, or what the account's own reports of it; `document` is the JSON that the client sent.

    Raises:
        BadRequestError: an event does not exist.
    """
    asked = request.webhooks or Webhooks()
    data = _dump(document)
    if len(data.encode()) > (MAX_DATA if asked.complete else MAX_UNASKED):
        data = _dump(_without_pictures(document))
    message = jobs_pb2.Webhook(data=data)
    if asked.complete is not None:
        message.url = asked.complete.strip()
        message.events.extend(_events(asked))
    return message


def _events(asked: Webhooks) -> list[jobs_pb2.WebhookEvent.ValueType]:
    words = [word.strip().lower() for word in asked.events or ()]
    for word in words:
        if word not in _EVENTS:
            raise BadRequestError(f"webhooks.events must be among {', '.join(_EVENTS)}, not {word[:40]!r}")
    return [_EVENTS[word] for word in dict.fromkeys(words)]


def _dump(document: object) -> str:
    """JSON without spaces, so that the same request written otherwise is the same."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def _without_pictures(document: object) -> object:
    """The document with long texts cut, however deep they are."""
    if isinstance(document, str):
        return document if len(document) <= MAX_TEXT else f"{document[:64]}… ({len(document)} characters)"
    if isinstance(document, list):
        return [_without_pictures(item) for item in document]
    if isinstance(document, dict):
        return {key: _without_pictures(item) for key, item in document.items()}
    return document
