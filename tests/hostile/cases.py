"""Hostile inputs written by hand, and tables of them: each is a case of its own. None may be answered as a fault."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import Message

from imagegen.v1 import accounts_pb2, jobs_pb2
from imagegen.v1 import generation_pb2 as pb
from tests.integration.hostile_files import BROKEN, SLIVERS, cmyk, long_gif, polyglot

BASE: Mapping[str, Any] = {
    "width": 64,
    "height": 64,
    "background": {"generate": {"description": "a red apple", "sample_num": 1}},
    "imagegen": {"steps": 1},
}
"""A request that is small in every way."""

VALUES: Mapping[str, Any] = {
    "NUL": "a\0b",
    "100,000 characters": "x" * 100_000,
    "200 words": "word " * 200,
    "quotes and backslashes": "'\"\\" * 300,
    "a lone surrogate": "\ud800",
    "right to left": "\u202eabc\u202c\u0627" * 50,
    "CR and LF": "a\r\nx-injected: 1\r\n\r\n",
    "markup": "<script>alert(1)</script>" * 20,
    "10**30": 10**30,
    "-1": -1,
    "1e308": 1e308,
    "true": True,
    "null": None,
    "[]": [],
    "{}": {},
    "a list of 10,000": [1] * 10_000,
    "a list 150 deep": json.loads("[" * 150 + "]" * 150),
}

FIELDS = (
    "url",
    "target",
    "output_format",
    "quality",
    "max_file_size",
    "webhooks",
    "webhooks.complete",
    "width",
    "height",
    "min_length",
    "padding",
    "fit",
    "print_size",
    "dpi",
    "caption",
    "caption.url",
    "enhancements",
    "generative_upscale",
    "upscale_strength",
    "preset",
    "background",
    "background.remove",
    "background.color",
    "background.replace",
    "background.generate",
    "background.generate.description",
    "background.generate.model_type",
    "background.generate.sample_num",
    "background.generate.adapter_type",
    "background.generate.controlnet_conditioning_scale",
    "background.generate.ip_image2",
    "background.generate.item_area_percentage",
    "background.generate.color",
    "background.generate.negative_prompt",
    "imagegen.steps",
    "imagegen.preview_interval",
)


@dataclass(frozen=True, slots=True)
class RestCase:
    """A request body; `echo` is a text that must not come back."""

    name: str
    body: bytes
    echo: str = ""
    headers: Mapping[str, str] | None = None


def rest_cases() -> Iterator[RestCase]:
    """Each field with each value; and bodies that are not a request."""
    for field in FIELDS:
        for label, value in VALUES.items():
            document = json.loads(json.dumps(BASE))
            target = document
            *parents, last = field.split(".")
            for parent in parents:
                target = target.setdefault(parent, {})
            target[last] = value
            echo = value[:101] if isinstance(value, str) and len(value) > 100 else ""
            yield RestCase(f"{field} = {label}", json.dumps(document).encode(), echo)
    bodies: Mapping[str, bytes] = {
        "nothing": b"",
        "a NUL": b"\0",
        "half a document": b'{"width": ',
        "UTF-16": '{"width": 1}'.encode("utf-16"),
        "no UTF-8": b'{"url": "\xff\xfe"}',
        "NaN": b'{"width": NaN}',
        "Infinity": b'{"width": 1e999}',
        "a number of 5,000 digits": b'{"width": ' + b"1" * 5000 + b"}",
        "a list": b"[" * 190 + b"]" * 190,
        "a list that is too deep": b"[" * 50_000,
        "300,000 values": b"[" + b"1," * 300_000 + b"1]",
        "one key 10,000 times": b"{" + b'"width": 1,' * 10_000 + b'"height": 1}',
        "100,000 keys": ("{" + ",".join(f'"{n}": 1' for n in range(100_000)) + "}").encode(),
        "a string": b'"' + b"x" * 100_000 + b'"',
    }
    for name, body in bodies.items():
        yield RestCase(name, body)
    for name, body in {
        "a form without its end": b"--b\r\n",
        "a form of 1,000 parts": b"--b\r\ncontent-disposition: form-data; name=a\r\n\r\nx\r\n" * 1000 + b"--b--\r\n",
        "a part with a header without end": b"--b\r\na: " + b"x" * 100_000 + b"\r\n\r\nx\r\n--b--\r\n",
        "a part with 10,000 headers": b"--b\r\n" + b"a: b\r\n" * 10_000 + b"\r\nx\r\n--b--\r\n",
        "a part whose name is 100,000 characters": b'--b\r\ncontent-disposition: form-data; name="'
        + b"x" * 100_000
        + b'"\r\n\r\nx\r\n--b--\r\n',
        "two files": b'--b\r\ncontent-disposition: form-data; name="image"; filename="a"\r\n\r\nx\r\n' * 2
        + b"--b--\r\n",
    }.items():
        yield RestCase(name, body, headers={"content-type": "multipart/form-data; boundary=b"})


PATHS = (
    "/rest_api/result/%00",
    "/rest_api/result/" + "x" * 5000,
    "/rest_api/result/..%2f..%2fetc%2fpasswd",
    "/rest_api/result/%ff%fe",
    "/rest_api/result/%E2%80%AE",
    "/rest_api/result/'%20OR%201=1--",
    "/results/%00",
    "/results/..%2f..%2ffamilies.toml",
    "/results/" + "x" * 5000,
    "/v1/jobs/%00/events",
    "/v1/jobs/" + "x" * 5000,
    "/v1/jobs?page_token=%00",
    "/v1/jobs?page_token=" + "x" * 5000,
    "/v1/jobs?page_size=-1",
    "/v1/jobs?page_size=99999999999999999999",
    "/v1/jobs?limit=-1&page_size=NaN&state=%00",
    "/v1/models/%00",
    "/v1/models/" + "x" * 5000,
    "//",
    "/%2e%2e/%2e%2e/etc/passwd",
    "/page/..%2f..%2fconfig.py",
    "/openapi.json?%00",
)


NO_MESSAGE: Mapping[str, bytes] = {
    "no tag": b"\xff",
    "a text beyond its end": b"\x0a\x05abc",
    "a length of 4 GiB": b"\x0a\xff\xff\xff\xff\x0f",
    "groups without end": b"\x0b" * 40,
    "a number without end": b"\x08\x80",
    "a number of eleven bytes": b"\x08" + b"\xff" * 10 + b"\x01",
    "no UTF-8": b"\x0a\x01\xff",
    "field 0": b"\x00\x00",
    "a NUL": b"\x0a\x03a\x00b",
    "an unknown field of 60 kB": b"\xfa\x7f" + b"\xe0\xd4\x03" + bytes(60_000),
    "5,000 empty fields": b"\x0a\x00" * 5000,
    "messages within messages": b"\x0a\x80\x7d" * 1000,
    "nothing": b"",
    "a text of 3,000 characters": b"\x0a\xb8\x17" + b"x" * 3000,
    "numbers of 64 bits": b"\x10" + b"\xff" * 9 + b"\x01\x18" + b"\xff" * 9 + b"\x01",
}


def grpc_methods() -> Iterator[str]:
    """Paths of all methods of ours, of health and of reflection."""
    for file in (pb, jobs_pb2, accounts_pb2):
        for service in file.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                yield f"/{service.full_name}/{method.name}"
    yield from ("/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch")
    yield "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"


def texts(kind: Any, path: str = "", depth: int = 0) -> Iterator[str]:
    """Paths of all texts in a message that are not repeated."""
    for field in kind.fields:
        if not field.is_repeated and field.type == field.TYPE_STRING:
            yield f"{path}{field.name}"
        elif not field.is_repeated and field.message_type is not None and depth < 4:
            yield from texts(field.message_type, f"{path}{field.name}.", depth + 1)


def with_text(path: str, text: str) -> bytes:
    """CreateJob with a text at a path of its request."""
    message = jobs_pb2.CreateJobRequest(request=pb.GenerateRequest(prompt="a", steps=1))
    target: Message = message.request
    *parents, last = path.split(".")
    for parent in parents:
        target = getattr(target, parent)
    setattr(target, last, text)
    return message.SerializeToString()


def grpc_cases() -> Iterator[tuple[str, str, bytes]]:
    """(name, method, message)."""
    for method in grpc_methods():
        for label, data in NO_MESSAGE.items():
            yield f"{method.rpartition('/')[2]}: {label}", method, data
    create = "/imagegen.v1.JobService/CreateJob"
    for path in texts(pb.GenerateRequest.DESCRIPTOR):
        yield f"{path} with a NUL", create, with_text(path, "a\0b")
        yield f"{path} of 12,000 characters", create, with_text(path, "é" * 12_000)
    enhancements = jobs_pb2.CreateJobRequest(request=pb.GenerateRequest(prompt="a"))
    for _ in range(9000):
        enhancements.request.enhancements.add()
    yield "9,000 enhancements", create, enhancements.SerializeToString()
    number = pb.GenerateRequest.DESCRIPTOR.fields_by_name["enhancements"].number
    tag = bytes([number << 3 | 2]) if number < 16 else bytes([(number << 3 | 2) & 0x7F | 0x80, number >> 4])
    yield "20,000,000 enhancements", "/imagegen.v1.GenerationService/Generate", (tag + b"\0") * 20_000_000


def files() -> Mapping[str, bytes]:
    """Files that are sent as pictures."""
    broken = {name: data for name, (data, _) in BROKEN.items()}
    return {**broken, **SLIVERS, "CMYK": cmyk(), "polyglot": polyglot(), "10,000 frames": long_gif(), "nothing": b""}


FINE = frozenset(
    {
        grpc.StatusCode.OK,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,
    }
)
"""Codes that a hostile call may end with: none of them says that something broke here."""
