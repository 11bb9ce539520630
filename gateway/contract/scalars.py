"""Numbers and sizes as clients write them in JSON: 1920, 1920.0, "1920", "200%", "500kb".

Each function is a pydantic BeforeValidator. It decides what can be read as a number at all, and refuses what protobuf
could not carry. Ranges are the orchestrator's (orchestrator/params/) and are not repeated here.
"""

import json
import math
import re
from collections.abc import Callable

from pydantic_core import PydanticCustomError

UINT32 = 2**32 - 1
UINT64 = 2**64 - 1

_WHOLE = re.compile(r"\+?([0-9]{1,20})(?:\.0+)?")
_PERCENT = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?%")
_FILE_SIZE = re.compile(r"([0-9]{1,20}(?:\.[0-9]{1,9})?) ?([kmg]?)b?", re.IGNORECASE)
_UNITS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}


def refusal(reason: str) -> PydanticCustomError:
    """Make the error of a field; `reason` reads on after the field's name."""
    return PydanticCustomError("imagegen", "{reason}", {"reason": reason})


def whole(limit: int) -> Callable[[object], int]:
    """Make a reader of whole numbers from 0 to limit: 12, 12.0 and "12", not true, not 12.5, not -1."""

    def read(value: object) -> int:
        number = _as_int(value)
        if number is None or number < 0:
            raise refusal(f"must be a whole number of at least 0, not {_display(value)}")
        if number > limit:
            raise refusal(f"must be at most {limit}, not {_display(value)}")
        return number

    return read


def number(value: object) -> float:
    """Read a finite number: 0.5, 1 and "0.5", not true, not "1e400"."""
    if not isinstance(value, bool) and isinstance(value, int | float | str):
        try:
            found = float(value)
        except (ValueError, OverflowError):
            found = math.nan
        if math.isfinite(found):
            return found
    raise refusal(f"must be a number, not {_display(value)}")


def side(value: object) -> int | str:
    """Read a length: pixels as an int, or a share of the input's own length as text such as "200%"."""
    if isinstance(value, str) and (found := _PERCENT.fullmatch(value.strip())):
        return f"{found[1]}%"
    pixels = _as_int(value)
    if pixels is None or pixels < 0:
        raise refusal(f"must be a whole number of pixels, not {_display(value)}")
    if pixels > UINT32:
        raise refusal("is too many pixels")
    return pixels


def texts(value: object) -> object:
    """Read a list of texts, of which one may come alone. Items that say nothing count as left out."""
    items = value if isinstance(value, list) else [value] if isinstance(value, str) else None
    return value if items is None else [item for item in items if item not in (None, "", [], {})]


def words(value: object) -> object:
    """Read a list of words that may have been written as one text: "denoise, light", "white balance, light"."""
    if not isinstance(value, str):
        return texts(value)
    found = re.split(r"[,;]", value) if re.search(r"[,;]", value) else value.split()
    return [word.strip() for word in found if word.strip()]


def file_size(value: object) -> int:
    """Read a number of bytes: 500000, "500000", "500kb", "1.5 MB", "1gb".

    The documents do not say whether a kb is 1000 or 1024 bytes; here it is 1024. Fractions of a byte are cut off.
    """
    text = value.strip() if isinstance(value, str) else None
    if text is not None and (found := _FILE_SIZE.fullmatch(text)):
        amount = float(found[1]) if "." in found[1] else int(found[1])  # a float would round large whole numbers
        size = int(amount * _UNITS[found[2].lower()])
    else:
        size = -1 if (given := _as_int(value)) is None else given
    if not 0 <= size <= UINT64:
        raise refusal(f'must be a number of bytes, or text such as "500kb" or "2 MB", not {_display(value)}')
    return size


def _as_int(value: object) -> int | None:
    """The whole number that a JSON value means, or None. True is an int to Python, but not to a client."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() else None  # is_integer is False for infinities and NaN
    if isinstance(value, str) and (found := _WHOLE.fullmatch(value.strip())):
        return int(found[1])
    return None


def _display(value: object) -> str:
    """A value as an error message quotes it: short, and never longer than Python prints an int."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    if isinstance(value, int) and abs(value) > 10**30:
        return "a number with more than 30 digits"
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
