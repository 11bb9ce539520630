"""What a job was asked for, kept with the job: its request without the pictures that came in it."""

import hashlib
from collections.abc import Sequence
from typing import Any, cast

from google.protobuf.message import Message

from imagegen.v1 import generation_pb2 as pb

MAX_MANIFEST = 16 * 1024
"""Bytes of a manifest: a page of a hundred jobs fits into one message. Prompts of more than that are not kept."""


def to_manifest(request: pb.GenerateRequest) -> bytes | None:
    """The request to keep; None where it is longer than MAX_MANIFEST. Hashes pictures: call it in a thread."""
    kept = without_pictures(request)
    kept.ClearField("request_id")
    serialized = kept.SerializeToString(deterministic=True)
    return serialized if len(serialized) <= MAX_MANIFEST else None


def without_pictures(request: pb.GenerateRequest) -> pb.GenerateRequest:
    """A copy with the SHA-256 of each file in place of its bytes. The bytes are never copied."""
    copy = pb.GenerateRequest()
    _fill(copy, request)
    return copy


def _fill(copy: Message, message: Message) -> None:
    if isinstance(message, pb.ImageSource) and message.HasField("data"):
        cast("pb.ImageSource", copy).sha256 = hashlib.sha256(message.data).digest()
        return
    copy.SetInParent()
    for field, value in message.ListFields():
        if field.message_type is None:
            copy.MergeFrom(type(copy)(**{field.name: value}))
        elif isinstance(value, Message):
            _fill(getattr(copy, field.name), value)
        else:
            for each in cast("Sequence[Any]", value):
                _fill(getattr(copy, field.name).add(), each)
