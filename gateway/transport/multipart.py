"""Bodies of multipart/form-data (RFC 7578): their parts, and what they say in the documented API.

There it is one file with the picture, and parameters as JSON or as fields.
"""

import logging
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
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
PICTURES = frozenset(
    {
        "background.generate.ip_image2",
        "background.generate.context_images",
        "background.replace",
        "background_url",
        "caption.url",
        "nsfw_parameters.nsfw_image_url",
        "nsfw_parameters.image_url",
    }
)
"""Fields that hold another picture. A file of such a name is the picture of that field."""
PARAMETERS = "parameters"
MAX_PARTS = 64
MAX_FIELD_BYTES = 128 * 1024
"""Of a field that is not the picture and not the JSON."""
_PATH = re.compile(r"[A-Za-z_]\w{0,63}(?:\[\w{1,64}\]|\.\w{1,64}){0,4}")
_STEP = re.compile(r"\w+")
_NUMBER = re.compile(r"[0-9]{1,3}")
_LIST = "[]"


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a body.

    Attributes:
        name: of the field.
        content: its bytes.
        is_file: it has a file name.
    """

    name: str
    content: bytes
    is_file: bool


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


def read_parts(body: bytes | bytearray, content_type: str, most: int) -> list[Part]:
    """The parts of a body that is in memory whole; nothing is written to disk. A file that was not chosen is none.

    Raises:
        BadRequestError: it is not multipart, or has more than `most` parts.
    """
    boundary = parse_options_header(content_type)[1].get(b"boundary")
    if not boundary:
        raise BadRequestError(f"Content-Type: {MEDIA_TYPE} has no boundary")
    parts, ended = _Parts(most), []
    # A file of any size stays in memory: the whole body is there already, and its size is checked.
    config = {"MAX_MEMORY_FILE_SIZE": len(body) + 1, "UPLOAD_ERROR_ON_BAD_CTE": True}
    try:
        parser = FormParser(
            MEDIA_TYPE, parts.on_field, parts.on_file, lambda: ended.append(True), boundary=boundary, config=config
        )
        parser.write(cast("bytes", body))  # a bytearray serves as well
        parser.finalize()
    except FormParserError as error:
        raise BadRequestError(f"The body is not {MEDIA_TYPE}: {error}") from None
    if not ended:
        raise BadRequestError(f"The body is not {MEDIA_TYPE}: it ends before its last boundary")
    return parts.found


def parse(body: bytes | bytearray, content_type: str, max_file_bytes: int) -> Form:
    """Read a body as the documented API has it.

    Raises:
        BadRequestError: as read_parts; it has a part twice, or its file is too large; the message names the part.
    """
    parameters: list[Part] = []
    files: dict[str, bytes] = {}
    fields: dict[str, list[object]] = {}
    for part in read_parts(body, content_type, MAX_PARTS):
        name = part.name
        if name == PARAMETERS:
            parameters.append(part)
        elif part.is_file and _field(name) in PICTURES:
            _check_file(name, part.content, max_file_bytes)
            fields.setdefault(name, []).append(f"base64,{b64encode(part.content).decode()}")
        elif name in FILES and not part.is_file and not part.content.strip():
            continue  # an empty field counts as left out
        elif part.is_file or (name in FILES and not is_address(part.content)):  # a file may come without a file name
            if name in files:
                raise BadRequestError(f"{name:.64} comes twice; send it once")
            files[name] = part.content
        elif len(part.content) > MAX_FIELD_BYTES:
            raise BadRequestError(f"{name:.64} has {len(part.content)} bytes; a field may have {MAX_FIELD_BYTES}")
        else:
            fields.setdefault("url" if name in FILES else name, []).append(_value(part.content))
    if len(parameters) > 1:
        raise BadRequestError(f"{PARAMETERS} comes twice; send it once")
    said = {
        name.removesuffix(_LIST): values[0] if len(values) == 1 and not name.endswith(_LIST) else values
        for name, values in fields.items()
    }
    name, data = _only_file(files, max_file_bytes)
    return Form(parameters[0].content if parameters else None, _nested(said), name, data)


def is_address(content: bytes) -> bool:
    """Whether it is the address of a picture, or the picture in base64, rather than its file."""
    return content.lstrip()[:10].lower().startswith((b"http://", b"https://", b"storage://", b"base64,", b"data:"))


class _Parts:
    """Keeps the parts as the parser finds them."""

    def __init__(self, most: int) -> None:
        self.found: list[Part] = []
        self._most, self._seen = most, 0

    def on_field(self, field: Field) -> None:
        self.found.append(Part(self._name(field.field_name), field.value or b"", is_file=False))

    def on_file(self, file: File) -> None:
        name = self._name(file.field_name)
        file.file_object.seek(0)
        content = file.file_object.read()
        if content or file.file_name:  # a form whose file was not chosen sends neither
            self.found.append(Part(name, content, is_file=True))

    def _name(self, name: bytes | None) -> str:
        self._seen += 1
        if self._seen > self._most:
            raise BadRequestError(f"The body has more than {self._most} parts")
        return (name or b"").decode("utf-8", "replace")


def _value(content: bytes) -> object:
    """What a field says: JSON where it is an object, a list, a number or a truth value, else text."""
    text = content.decode("utf-8", "replace").strip()
    if text[:1] in {"{", "["} or text in {"true", "false", "null"}:
        try:
            return pydantic_core.from_json(text, allow_inf_nan=False)
        except ValueError:
            return text
    return text


def _field(name: str) -> str:
    """The field of the documented JSON that a part's name means, without the number of an item."""
    steps = _STEP.findall(name)
    return ".".join(steps[:-1] if steps and _NUMBER.fullmatch(steps[-1]) else steps)


def _nested(fields: Mapping[str, object]) -> dict[str, object]:
    """The object that fields mean, as forms have them: a[b] and a.b are {"a": {"b": …}}, a[0] and a[1] are a list."""
    found: dict[str, object] = {}
    for name, value in fields.items():
        place, steps = found, _STEP.findall(name) if _PATH.fullmatch(name) else [name]
        for step in steps[:-1]:
            inner = place.setdefault(step, {})
            if not isinstance(inner, dict):
                raise BadRequestError(f"{name:.64} does not go with {step:.64}: send it in one form")
            place = inner
        if steps[-1] in place:
            raise BadRequestError(f"{name:.64} comes twice; send it once")
        place[steps[-1]] = value
    return {name: _listed(value) for name, value in found.items()}


def _listed(value: object) -> object:
    """The same, objects whose names are all numbers as lists in the order of their numbers."""
    if not isinstance(value, dict):
        return value
    inner = {name: _listed(item) for name, item in value.items()}
    if inner and all(_NUMBER.fullmatch(name) for name in inner):
        return [inner[name] for name in sorted(inner, key=int)]
    return inner


def _only_file(files: Mapping[str, bytes], most: int) -> tuple[str, bytes | None]:
    """The part that holds the picture, and its content; "" and None without one."""
    names: Sequence[str] = list(files)
    if len(names) > 1:
        raise BadRequestError(f"{names[1]:.64} does not go with {names[0]:.64}: send one file")
    if not names:
        return "", None
    (name,) = names
    _check_file(name, files[name], most)
    return _shown(name), files[name]


def _check_file(name: str, content: bytes, most: int) -> None:
    if not content:
        raise BadRequestError(f"{_shown(name)} is empty")
    if len(content) > most:
        raise BadRequestError(f"{_shown(name)} has {len(content)} bytes; the limit is {most}")


def _shown(name: str) -> str:
    return f"{name or 'the file':.64}"
