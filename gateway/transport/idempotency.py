"""Requests that may be sent again: the key by which a second one answers with the first one's job.

The header is that of draft-ietf-httpapi-idempotency-key-header-07, which writes it as a quoted string; a bare one is
taken too. A request without it gets a drawn key, so that this gateway itself can send it to the orchestrator again.
"""

import re
import uuid

from gateway.errors import BadRequestError

HEADER = "Idempotency-Key"

_KEY = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_QUOTED = re.compile(r'"([^"]*)"')


def read_key(header: str | None) -> str:
    """The key of a request.

    Raises:
        BadRequestError: it has another form.
    """
    if header is None:
        return str(uuid.uuid4())
    text = header.strip()
    quoted = _QUOTED.fullmatch(text)
    key = quoted[1] if quoted else text
    if not _KEY.fullmatch(key):
        raise BadRequestError(f"{HEADER} must have 1 to 128 characters of A-Z a-z 0-9 . _ : -")
    return key
