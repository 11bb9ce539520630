"""What a webhook says, how it is signed (standardwebhooks.com, version 1.0.0), and when it is tried again."""

import base64
import hashlib
import hmac
import json
import random
from collections.abc import Iterable, Mapping
from enum import StrEnum

from orchestrator.config import WEB_PORTS, Ports
from orchestrator.errors import InvalidRequestError, Violation
from orchestrator.web.addresses import is_private_literal
from orchestrator.web.urls import UrlError, parse

MAX_DATA = 1024 * 1024
"""Bytes of JSON that a client may add to the webhook of its job."""

WAITS = (5, 30, 120, 600, 1800, 3600, 3 * 3600, 6 * 3600, 12 * 3600)
"""Seconds after each try that failed; after the last, one more, nothing follows."""

MAX_RETRY_AFTER = 3600.0
"""Longest Retry-After of a receiver that is followed, seconds."""

_JITTER = 0.1


class Event(StrEnum):
    """What a webhook reports; the schema says what each means."""

    COMPLETE = "complete"
    FAILED = "failed"


def check_webhook(url: str | None, data: str | None, *, allow_private: bool, ports: Ports = WEB_PORTS) -> None:
    """See that a webhook can be sent: as far as that shows now.

    Args:
        url: where to; None for the account's webhook.
        data: JSON text to be sent with it, or None.
        allow_private: whether addresses that are not public are taken.
        ports: that are taken.

    Raises:
        InvalidRequestError: one of them is wrong: of `webhook.url` or `webhook.data`.
    """
    if url is not None:
        _check_url(url, allow_private=allow_private, ports=ports)
    if data is not None and (fault := _data_fault(data)):
        raise InvalidRequestError(Violation("webhook.data", fault))


def _check_url(url: str, *, allow_private: bool, ports: Ports) -> None:
    try:
        parsed = parse(url, ports=ports)
    except UrlError as error:
        raise InvalidRequestError(Violation("webhook.url", str(error))) from None
    if not allow_private and is_private_literal(parsed.host):
        raise InvalidRequestError(Violation("webhook.url", "refers to an address that is not public"))


def make_body(job_id: str, data: str | None, result_url: str | None, failure: str | None) -> bytes:
    """The body: the documented fields, and of a failed job its status and why. `data` is JSON text."""
    fields = {
        "job": json.dumps(job_id),
        "data": data or "null",
        "result_url": json.dumps(result_url),
        "results": "null",
    }
    if failure is not None:
        fields["status"] = json.dumps(Event.FAILED)
        fields["message"] = json.dumps(failure)
    return ("{" + ", ".join(f'"{name}": {value}' for name, value in fields.items()) + "}").encode()


def sign(secrets: Iterable[bytes], webhook_id: str, timestamp: int, body: bytes) -> Mapping[str, str]:
    """Headers by which a receiver knows a webhook, signed with each secret; `timestamp` is in Unix seconds."""
    content = f"{webhook_id}.{timestamp}.".encode() + body
    digests = [hmac.new(secret, content, hashlib.sha256).digest() for secret in secrets]
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{base64.b64encode(digest).decode('ascii')}" for digest in digests),
    }


def next_wait(attempts: int, retry_after: float | None) -> float | None:
    """Seconds after the last of `attempts` tries, all failed; None if it was the last of all."""
    if attempts > len(WAITS):
        return None
    jitter = random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - so that those that failed together come apart
    return max(WAITS[attempts - 1] * jitter, min(retry_after or 0.0, MAX_RETRY_AFTER))


def _data_fault(data: str) -> str | None:
    if len(data.encode()) > MAX_DATA:
        return f"has more than {MAX_DATA} bytes"
    try:
        json.loads(data, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return "is not JSON"
    return None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
