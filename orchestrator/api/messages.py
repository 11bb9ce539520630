"""From the bytes of a message to the message: its size, its form and its texts, checked for every method alike."""

from collections.abc import Iterator, Mapping
from typing import Any, cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message

from orchestrator.errors import InvalidRequestError, Violation

MAX_FIELDS = 10_000
"""Fields of a message and of those within it. Two bytes of a field become a hundred in memory, so a message within the
limit of bytes could fill gigabytes. A request has some hundred."""
MAX_DEPTH = 32
"""Messages within each other. Ours nest five deep."""
_UNCHECKED_BYTES = 4096
"""Messages up to this size are parsed without counting first."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def decode(data: bytes, kind: type[Message]) -> Message:
    """The message of a kind that the bytes are.

    Raises:
        InvalidRequestError: they are none, or have too many fields, or a text has a NUL, which no text of ours may and
            the database does not store.
    """
    name = kind.DESCRIPTOR.full_name
    try:
        if len(data) > _UNCHECKED_BYTES:
            _Wire(data).check(cast("Descriptor", kind.DESCRIPTOR), 0, len(data), 0)
        message = kind.FromString(data)
    except (DecodeError, IndexError):
        raise InvalidRequestError(Violation("request", f"is not a message of type {name}")) from None
    except RecursionError:
        raise InvalidRequestError(Violation("request", f"nests messages more than {MAX_DEPTH} deep")) from None
    if b"\0" in data:
        violations = [Violation(path, "must not contain the character NUL") for path in _texts_with_nul(message)]
        if violations:
            raise InvalidRequestError(*violations)
    return message


class _Wire:
    """The wire format of a message (protobuf.dev/programming-guides/encoding), read without building the message."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at, self._fields = data, 0, 0

    def check(self, kind: Descriptor, start: int, end: int, depth: int) -> None:
        """Count the fields from start to end.

        Raises:
            InvalidRequestError: there are more than MAX_FIELDS.
            RecursionError: messages nest deeper than MAX_DEPTH.
            DecodeError, IndexError: the bytes are not a message.
        """
        if depth > MAX_DEPTH:
            raise RecursionError
        self._at = start
        while self._at < end:
            tag = self._varint()
            field, wire_type = kind.fields_by_number.get(tag >> 3), tag & 7
            self._count(1)
            if wire_type == _VARINT:
                self._varint()
            elif wire_type == _FIXED64:
                self._at += 8
            elif wire_type == _FIXED32:
                self._at += 4
            elif wire_type == _BYTES:
                self._skip(field, end, depth)
            else:
                raise DecodeError("groups are not used")
        if self._at != end:
            raise DecodeError("a field exceeds its message")

    def _skip(self, field: FieldDescriptor | None, end: int, depth: int) -> None:
        length = self._varint()
        start, stop = self._at, self._at + length
        if stop > end:
            raise DecodeError("a field exceeds its message")
        if field is not None and field.message_type is not None:
            self.check(field.message_type, start, stop, depth + 1)
        elif field is not None and field.type not in {FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES}:
            self._count(length)  # packed numbers, a byte each at least
        self._at = stop

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._data[self._at]
            self._at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
            if shift > 63:
                raise DecodeError("a number is too long")

    def _count(self, fields: int) -> None:
        self._fields += fields
        if self._fields > MAX_FIELDS:
            raise InvalidRequestError(Violation("request", f"has more than {MAX_FIELDS} fields"))


def _texts_with_nul(message: Message, path: str = "") -> Iterator[str]:
    """Paths of the texts that contain a NUL. Bytes are not checked: reading a picture would copy it."""
    for field in message.DESCRIPTOR.fields:
        if field.type != FieldDescriptor.TYPE_STRING and field.message_type is None:
            continue
        if field.message_type is not None and not field.is_repeated and not message.HasField(field.name):
            continue
        for at, each in _each(cast("FieldDescriptor", field), getattr(message, field.name), f"{path}{field.name}"):
            if isinstance(each, Message):
                yield from _texts_with_nul(each, f"{at}.")
            elif isinstance(each, str) and "\0" in each:
                yield at


def _each(field: FieldDescriptor, value: Any, name: str) -> Iterator[tuple[str, Any]]:  # noqa: ANN401  # any field's value
    if not field.is_repeated:
        yield name, value
    elif isinstance(value, Mapping):
        yield from ((f"{name}[{key}]", each) for key, each in value.items())
    else:
        yield from ((f"{name}[{number}]", each) for number, each in enumerate(value))
