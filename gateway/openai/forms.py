"""Forms with files (RFC 7578) as OpenAI's clients send them: names in brackets for lists and objects."""

import re
from dataclasses import dataclass, field
from typing import Any

from gateway.openai.errors import invalid
from gateway.transport import multipart

MAX_PARTS = 256
_NAME = re.compile(r"([A-Za-z_][A-Za-z0-9_]{0,63})((?:\[[A-Za-z0-9_]{0,64}\]){0,4})")
_STEP = re.compile(r"\[([A-Za-z0-9_]*)\]")


@dataclass(frozen=True, slots=True)
class Form:
    """What came.

    Attributes:
        fields: text, as the JSON document that it means: a[]=1 is {"a": ["1"]}, a[b]=1 is {"a": {"b": "1"}}.
        files: by name, without brackets.
    """

    fields: dict[str, Any] = field(default_factory=dict)
    files: dict[str, list[bytes]] = field(default_factory=dict)


def parse(body: bytes | bytearray, content_type: str, max_file_bytes: int, file_names: frozenset[str]) -> Form:
    """Read a body that is in memory; nothing is written to disk.

    Args:
        body: all of it.
        content_type: header, with the boundary.
        max_file_bytes: of each file.
        file_names: parts that are files even where they have no file name.

    Raises:
        BadRequestError: it is not a form.
        OpenAIError: a part is not a field, or a file is empty or too large; its param is the part.
    """
    form = Form()
    for part in multipart.read_parts(body, content_type, MAX_PARTS):
        name, steps = _steps(part.name)
        if part.is_file or (name in file_names and not multipart.is_address(part.content)):
            _check(name, len(part.content), max_file_bytes)
            form.files.setdefault(name, []).append(part.content)
        else:
            _put(form.fields, name, steps, part.content.decode("utf-8", "replace"))
    return form


def _steps(text: str) -> tuple[str, list[str]]:
    """The name of a part, and what its brackets hold."""
    found = _NAME.fullmatch(text)
    if found is None:
        raise invalid(f"{text[:64]!r} is not a field of this request", None, "unknown_parameter")
    return found[1], _STEP.findall(found[2])


def _check(name: str, size: int, most: int) -> None:
    if not size:
        raise invalid(f"{name} is empty", name)
    if size > most:
        raise invalid(f"{name} has {size} bytes; the limit is {most}", name, "image_too_large")


def _put(fields: dict[str, Any], name: str, steps: list[str], value: str) -> None:
    """Place a value at a name in brackets: an empty bracket is an item of a list, another one a key of an object."""
    place, key = fields, name
    for number, step in enumerate(steps):
        if step == "":
            items = place.setdefault(key, [])
            if number != len(steps) - 1 or not isinstance(items, list):
                raise invalid(f"{name}: only the last bracket may be empty", name)
            items.append(value)
            return
        inner = place.setdefault(key, {})
        if not isinstance(inner, dict):
            raise invalid(f"{name} is sent in two different forms", name)
        place, key = inner, step
    if key in place:
        raise invalid(f"{name} comes twice; send it once", name)
    place[key] = value
