"""What a webhook shall tell: where to, and the request that it is about."""

import json

from gateway.contract import ProcessRequest
from imagegen.v1 import jobs_pb2

MAX_DATA = 1024 * 1024
"""Bytes of JSON that go along with a job: the orchestrator's limit."""
MAX_TEXT = 2048
"""Of a longer request each text is cut to so many characters: what is longer is a picture inside the request."""


def to_proto(request: ProcessRequest, document: object) -> jobs_pb2.Webhook | None:
    """The webhook of a request, None without one; `document` is the JSON that the client sent."""
    if request.webhooks is None or request.webhooks.complete is None:
        return None
    data = _dump(document)
    if len(data.encode()) > MAX_DATA:
        data = _dump(_without_pictures(document))
    return jobs_pb2.Webhook(url=request.webhooks.complete.strip(), data=data)


def _dump(document: object) -> str:
    """JSON without spaces, so that the same request written otherwise is the same."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def _without_pictures(document: object) -> object:
    """The document with long texts cut, however deep they lie."""
    if isinstance(document, str):
        return document if len(document) <= MAX_TEXT else f"{document[:64]}… ({len(document)} characters)"
    if isinstance(document, list):
        return [_without_pictures(item) for item in document]
    if isinstance(document, dict):
        return {key: _without_pictures(item) for key, item in document.items()}
    return document
