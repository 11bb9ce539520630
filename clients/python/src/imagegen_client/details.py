"""google.rpc messages in the trailing metadata of an error: https://google.aip.dev/193.

Defined here, with the fields that this client reads, in place of a dependency that brings hundreds of others.
"""

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from google.protobuf import descriptor_pb2, message_factory, text_format
from google.protobuf.message import DecodeError

from imagegen_client.pool import POOL

KEY = "grpc-status-details-bin"
DOMAIN = "imagegen"
_FILE = """
name: "imagegen_client/details.proto" package: "imagegen_client.details" syntax: "proto3"
dependency: "google/protobuf/duration.proto"
message_type {
  name: "Any"
  field { name: "type_url" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
  field { name: "value" number: 2 type: TYPE_BYTES label: LABEL_OPTIONAL }
}
message_type {
  name: "Status"
  field { name: "details" number: 3 type: TYPE_MESSAGE type_name: ".imagegen_client.details.Any" label: LABEL_REPEATED }
}
message_type {
  name: "ErrorInfo"
  field { name: "reason" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
  field { name: "domain" number: 2 type: TYPE_STRING label: LABEL_OPTIONAL }
}
message_type {
  name: "FieldViolation"
  field { name: "field" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
  field { name: "description" number: 2 type: TYPE_STRING label: LABEL_OPTIONAL }
}
message_type {
  name: "BadRequest"
  field {
    name: "field_violations" number: 1 type: TYPE_MESSAGE label: LABEL_REPEATED
    type_name: ".imagegen_client.details.FieldViolation"
  }
}
message_type {
  name: "RetryInfo"
  field {
    name: "retry_delay" number: 1 type: TYPE_MESSAGE label: LABEL_OPTIONAL
    type_name: ".google.protobuf.Duration"
  }
}
message_type {
  name: "RequestInfo"
  field { name: "request_id" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
}
"""
_DESCRIPTORS = POOL.AddSerializedFile(
    text_format.Parse(_FILE, descriptor_pb2.FileDescriptorProto()).SerializeToString()
).message_types_by_name


@dataclass(frozen=True, slots=True)
class Details:
    """What an error says beyond its code and message.

    Attributes:
        reason: ErrorInfo.reason; empty where the error is not the service's own.
        violations: path and description of each wrong field.
        retry_after: seconds; None where none are named.
        request_id: what the log knows the request by.
    """

    reason: str = ""
    violations: tuple[tuple[str, str], ...] = ()
    retry_after: float | None = None
    request_id: str = ""


def read(metadata: object) -> Details:
    """Read trailing metadata. What cannot be read counts as not sent."""
    status = _new("Status")
    for key, value in metadata if isinstance(metadata, Iterable) else ():
        if key == KEY and isinstance(value, bytes):
            with contextlib.suppress(DecodeError):
                status.ParseFromString(value)
    found = {kind: _new(kind) for kind in ("ErrorInfo", "BadRequest", "RetryInfo", "RequestInfo")}
    for packed in status.details:
        message = found.get(packed.type_url.rpartition("google.rpc.")[2])
        if message is not None:
            with contextlib.suppress(DecodeError):
                message.ParseFromString(packed.value)
    delay = found["RetryInfo"].retry_delay
    seconds = delay.seconds + delay.nanos / 1e9
    return Details(
        reason=found["ErrorInfo"].reason if found["ErrorInfo"].domain == DOMAIN else "",
        violations=tuple((each.field, each.description) for each in found["BadRequest"].field_violations),
        retry_after=seconds if seconds > 0 else None,
        request_id=found["RequestInfo"].request_id,
    )


def _new(name: str) -> Any:  # noqa: ANN401 - classes that exist at run time only
    return message_factory.GetMessageClass(_DESCRIPTORS[name])()
