"""Forms with files (RFC 7578) as OpenAI's clients send them: names in brackets for lists and objects."""

import re
from dataclasses import dataclass, field
from typing import Any, cast

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import Field, File, FormParser, parse_options_header

from gateway.openai.errors import OpenAIError, invalid
from gateway.transport.multipart import MEDIA_TYPE

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
        OpenAIError: it is not a form, or a file is empty or too large; its param is the part.
    """
    boundary = parse_options_header(content_type)[1].get(b"boundary")
    if not boundary:
        raise invalid(f"Content-Type: {MEDIA_TYPE} has no boundary", None)
    parts = _Parts(max_file_bytes, file_names)
    config = {"MAX_MEMORY_FILE_SIZE": len(body) + 1, "UPLOAD_ERROR_ON_BAD_CTE": True}
    try:
        parser = FormParser(MEDIA_TYPE, parts.on_field, parts.on_file, parts.on_end, boundary=boundary, config=config)
        parser.write(cast("bytes", body))  # a bytearray serves as well
        parser.finalize()
    except FormParserError as error:
        raise invalid(f"The body is not {MEDIA_TYPE}: {error}", None) from None
    if not parts.ended:
        raise invalid(f"The body is not {MEDIA_TYPE}: it ends before its last boundary", None)
    return parts.form


class _Parts:
    """Keeps the parts as the parser finds them."""

    def __init__(self, max_file_bytes: int, file_names: frozenset[str]) -> None:
        self.form, self.ended = Form(), False
        self._max_file_bytes, self._file_names, self._seen = max_file_bytes, file_names, 0

    def on_field(self, field: Field) -> None:
        name, steps = self._name(field.field_name)
        value = field.value or b""
        if name in self._file_names and not value.startswith((b"http", b"data:")):
            self._keep_file(name, value)
        else:
            _put(self.form.fields, name, steps, value.decode("utf-8", "replace"))

    def on_file(self, file: File) -> None:
        file.file_object.seek(0)
        content = file.file_object.read()
        if content or file.file_name:  # a form whose file was not chosen sends neither
            self._keep_file(self._name(file.field_name)[0], content)

    def on_end(self) -> None:
        self.ended = True

    def _name(self, raw: bytes | None) -> tuple[str, list[str]]:
        self._seen += 1
        if self._seen > MAX_PARTS:
            raise invalid(f"The body has more than {MAX_PARTS} parts", None)
        text = (raw or b"").decode("utf-8", "replace")
        found = _NAME.fullmatch(text)
        if found is None:
            raise invalid(f"{text[:64]!r} is not a field of this request", None, "unknown_parameter")
        return found[1], _STEP.findall(found[2])

    def _keep_file(self, name: str, content: bytes) -> None:
        if not content:
            raise invalid(f"{name} is empty", name)
        if len(content) > self._max_file_bytes:
            raise _too_large(name, len(content), self._max_file_bytes)
        self.form.files.setdefault(name, []).append(content)


def _too_large(name: str, size: int, limit: int) -> OpenAIError:
    return invalid(f"{name} has {size} bytes; the limit is {limit}", name, "image_too_large")


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
