"""Pictures as clients send them in JSON: where to fetch them, or their bytes in base64. Nothing is fetched here."""

import binascii
import re
from urllib.parse import unquote

from gateway.errors import BadRequestError
from imagegen.v1 import generation_pb2 as pb

_WEB = ("http://", "https://")
_STORAGE = "storage://"
_BARE = "base64,"  # the documented form without a media type
_URL_SAFE = str.maketrans("-_", "+/")
# RFC 2397: media type and its parameters, which say nothing here: the first bytes of a file show its format.
_DATA = re.compile(r"data:[^,]{0,200},", re.IGNORECASE)


def source(value: str, field: str, max_bytes: int) -> pb.ImageSource:
    """Read a picture: an http or https URL, storage://NAME/PATH, "base64,<data>", or a data URI in base64.

    Args:
        value: as the client sent it.
        field: that it came in.
        max_bytes: largest file that may come inside the request.

    Raises:
        BadRequestError: it is not one of these, or larger; the message names the field.
    """
    text = value.strip()
    start = text[: len(_STORAGE)].lower()
    if start.startswith((*_WEB, _STORAGE)):
        return pb.ImageSource(url=text)
    if start.startswith(_BARE):
        return pb.ImageSource(data=_decode(text, len(_BARE), field, max_bytes))
    if start.startswith("data:"):
        return pb.ImageSource(data=_decode(text, _data_start(text, field), field, max_bytes))
    raise BadRequestError(
        f'{field} must be an http or https URL, storage://NAME/PATH, "base64,<data>" or a data: URI in base64'
    )


def _data_start(text: str, field: str) -> int:
    """Where the data of a data URI begins."""
    found = _DATA.match(text)
    if found is None or not found[0].lower().endswith(";base64,"):
        raise BadRequestError(f"{field} must be a data URI in base64: data:image/png;base64,<data>")
    return found.end()


def _decode(text: str, start: int, field: str, max_bytes: int) -> bytes:
    """Decode base64 from `start` on, of either alphabet of RFC 4648, padded or not; white space in it is left out.

    It may be percent-encoded, as a URL may be (RFC 2397).
    """
    given = text[start:]
    digits = "".join((unquote(given) if "%" in given else given).split()).translate(_URL_SAFE).rstrip("=")
    size = len(digits) * 3 // 4
    if size > max_bytes:
        raise BadRequestError(f"{field} has {size} bytes; the limit is {max_bytes}")
    try:
        data = binascii.a2b_base64(digits + "=" * (-len(digits) % 4), strict_mode=True)
    except ValueError as error:  # binascii.Error is one, and so is what text outside ASCII raises
        raise BadRequestError(f"{field} is not base64: {error}") from None
    if not data:
        raise BadRequestError(f"{field} has no data after base64,")
    return data
