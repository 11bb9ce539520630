"""Bodies of multipart/form-data (RFC 7578): one file with the picture, and parameters as JSON or as fields."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

import pydantic_core
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import Field, File, FormParser, parse_options_header

from gateway.errors import BadRequestError

MEDIA_TYPE = "multipart/form-data"
logging.getLogger("python_multipart").setLevel(logging.ERROR)  # it warns of every body that is not one
FILES = ("image", "fileName")
"""Names of the part that holds the picture: what nearly every client sends, and what the published description has. A
file of any other name is taken for the picture, too."""
PARAMETERS = "parameters"
MAX_PARTS = 64
MAX_FIELD_BYTES = 128 * 1024
"""Of a field that is not the picture and not the JSON."""


@dataclass(frozen=True, slots=True)
class Form:
    """What came.

    Attributes:
        parameters: JSON text; None without that part.
        fields: the other fields, by name: their text, or what it says as JSON; of several of one name a list.
        name: of the part that holds the picture; "" without one.
        data: the picture's file; None without one.
    """

    parameters: bytes | None = None
    fields: Mapping[str, object] = field(default_factory=dict)
    name: str = ""
    data: bytes | None = None


def parse(body: bytes | bytearray, content_type: str, max_file_bytes: int) -> Form:
    """Read a body that is in memory whole; nothing is written to disk.

    Raises:
        BadRequestError: it is not multipart, has a part twice, or its file is too large; the message names the part.
    """
    boundary = parse_options_header(content_type)[1].get(b"boundary")
    if not boundary:
        raise BadRequestError(f"Content-Type: {MEDIA_TYPE} has no boundary")
    parts = _Parts()
    # A file of any size stays in memory: the whole body is there already, and its size is checked.
    config = {"MAX_MEMORY_FILE_SIZE": len(body) + 1, "UPLOAD_ERROR_ON_BAD_CTE": True}
    try:
        parser = FormParser(MEDIA_TYPE, parts.on_field, parts.on_file, parts.on_end, boundary=boundary, config=config)
        parser.write(cast("bytes", body))  # a bytearray serves as well
        parser.finalize()
    except FormParserError as error:
        raise BadRequestError(f"The body is not {MEDIA_TYPE}: {error}") from None
    if not parts.ended:
        raise BadRequestError(f"The body is not {MEDIA_TYPE}: it ends before its last boundary")
    return _form(parts, max_file_bytes)


class _Parts:
    """Keeps the parts as the parser finds them."""

    def __init__(self) -> None:
        self.parameters: bytes | None = None
        self.files: dict[str, bytes] = {}
        self.fields: dict[str, list[object]] = {}
        self.ended = False
        self._seen = 0

    def on_field(self, part: Field) -> None:
        name, content = self._name(part.field_name), part.value or b""
        if name == PARAMETERS:
            self._keep_parameters(content)
        elif name in FILES and not _is_text(content):
            self._keep_file(name, content)  # a file without a file name
        elif len(content) > MAX_FIELD_BYTES:
            raise BadRequestError(f"{name:.64} has {len(content)} bytes; a field may have {MAX_FIELD_BYTES}")
        else:
            field_name = "url" if name in FILES else name.removesuffix("[]")
            self.fields.setdefault(field_name, []).append(_value(content))

    def on_file(self, file: File) -> None:
        name = self._name(file.field_name)
        file.file_object.seek(0)
        content = file.file_object.read()
        if name == PARAMETERS:
            self._keep_parameters(content)
        elif content or file.file_name:  # a form whose file was not chosen sends neither
            self._keep_file(name, content)

    def on_end(self) -> None:
        self.ended = True

    def _name(self, name: bytes | None) -> str:
        self._seen += 1
        if self._seen > MAX_PARTS:
            raise BadRequestError(f"The body has more than {MAX_PARTS} parts")
        return (name or b"").decode("utf-8", "replace")

    def _keep_parameters(self, content: bytes) -> None:
        if self.parameters is not None:
            raise BadRequestError(f"{PARAMETERS} comes twice; send it once")
        self.parameters = content

    def _keep_file(self, name: str, content: bytes) -> None:
        if name in self.files:
            raise BadRequestError(f"{name:.64} comes twice; send it once")
        self.files[name] = content


def _is_text(content: bytes) -> bool:
    """Whether it is the address of a picture rather than the picture itself."""
    return content.lstrip()[:10].lower().startswith((b"http://", b"https://", b"storage://", b"base64,", b"data:"))


def _value(content: bytes) -> object:
    """What a field says: JSON where it is an object, a list, a number or a truth value, else text."""
    text = content.decode("utf-8", "replace").strip()
    if text[:1] in {"{", "["} or text in {"true", "false", "null"}:
        try:
            return pydantic_core.from_json(text, allow_inf_nan=False)
        except ValueError:
            return text
    return text


def _form(found: _Parts, max_file_bytes: int) -> Form:
    fields = {name: values[0] if len(values) == 1 else values for name, values in found.fields.items()}
    names = list(found.files)
    if len(names) > 1:
        raise BadRequestError(f"{names[1]:.64} does not go with {names[0]:.64}: send one file")
    if not names:
        return Form(found.parameters, fields)
    (name,) = names
    content, shown = found.files[name], f"{name or 'the file':.64}"
    if not content:
        raise BadRequestError(f"{shown} is empty")
    if len(content) > max_file_bytes:
        raise BadRequestError(f"{shown} has {len(content)} bytes; the limit is {max_file_bytes}")
    return Form(found.parameters, fields, shown, content)
