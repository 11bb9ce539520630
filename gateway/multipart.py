"""Bodies of multipart/form-data (RFC 7578): one file with the picture, and the JSON as text beside it."""

import logging
from dataclasses import dataclass

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import Field, File, FormParser, parse_options_header

from gateway.errors import BadRequestError

MEDIA_TYPE = "multipart/form-data"
logging.getLogger("python_multipart").setLevel(logging.ERROR)  # it warns of every body that is none
FILES = ("image", "fileName")
"""Names of the part that holds the picture: what nearly every client sends, and what the published description has."""
PARAMETERS = "parameters"
MAX_PARTS = 32
"""Others than these parts are ignored, as unknown fields of JSON are; but not without end."""


@dataclass(frozen=True, slots=True)
class Form:
    """What came.

    Attributes:
        parameters: JSON text; None without that part.
        name: of the part that holds the picture; "" without one.
        data: the picture's file; None without one.
    """

    parameters: bytes | None = None
    name: str = ""
    data: bytes | None = None


def parse(body: bytes, content_type: str, max_file_bytes: int) -> Form:
    """Read a body that is in memory whole; nothing is written to disk.

    Raises:
        BadRequestError: it is none, has a part twice, or its file is too large; the message names the part.
    """
    boundary = parse_options_header(content_type)[1].get(b"boundary")
    if not boundary:
        raise BadRequestError(f"Content-Type: {MEDIA_TYPE} names no boundary")
    parts = _Parts()
    # A file of any size stays in memory: the whole body is there already, and its size is checked.
    config = {"MAX_MEMORY_FILE_SIZE": len(body) + 1, "UPLOAD_ERROR_ON_BAD_CTE": True}
    try:
        parser = FormParser(MEDIA_TYPE, parts.on_field, parts.on_file, parts.on_end, boundary=boundary, config=config)
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise BadRequestError(f"The body is not {MEDIA_TYPE}: {error}") from None
    if not parts.ended:
        raise BadRequestError(f"The body is not {MEDIA_TYPE}: it ends before its last boundary")
    return _form(parts.known, max_file_bytes)


class _Parts:
    """Keeps the parts that have a meaning, as the parser finds them."""

    def __init__(self) -> None:
        self.known: dict[str, bytes] = {}
        self.ended = False
        self._seen = 0

    def on_field(self, field: Field) -> None:
        self._keep(field.field_name, field.value or b"")

    def on_file(self, file: File) -> None:
        file.file_object.seek(0)
        content = file.file_object.read()
        if content or file.file_name:  # a form whose file was not chosen sends neither
            self._keep(file.field_name, content)

    def on_end(self) -> None:
        self.ended = True

    def _keep(self, name: bytes | None, content: bytes) -> None:
        self._seen += 1
        if self._seen > MAX_PARTS:
            raise BadRequestError(f"The body has more than {MAX_PARTS} parts")
        known = (name or b"").decode("utf-8", "replace")
        if known in self.known:
            raise BadRequestError(f"{known} comes twice; send it once")
        if known in {*FILES, PARAMETERS}:
            self.known[known] = content


def _form(found: dict[str, bytes], max_file_bytes: int) -> Form:
    files = [name for name in FILES if name in found]
    if len(files) > 1:
        raise BadRequestError(f"{files[1]} does not go with {files[0]}: send one file")
    if not files:
        return Form(found.get(PARAMETERS))
    (name,) = files
    if not found[name]:
        raise BadRequestError(f"{name} is empty")
    if len(found[name]) > max_file_bytes:
        raise BadRequestError(f"{name} has {len(found[name])} bytes; the limit is {max_file_bytes}")
    return Form(found.get(PARAMETERS), name, found[name])
