"""Inputs by mutation: of messages, of JSON, of heads and of picture files. The seed gives the same ones again."""

import json
import random
from collections.abc import Iterator, Sequence

import numpy as np

from imagegen.v1 import generation_pb2 as pb
from imagegen.v1 import jobs_pb2
from tests.hostile.cases import BASE, VALUES
from tests.integration.pictures import encode

_TOKENS = (
    b"\0",
    b"\xff",
    b"\x80",
    b"\xff\xff\xff\xff",
    b"\r\n",
    b'"',
    b"{",
    b"[",
    b"%00",
    b"\x7f" * 8,
    b"-1",
    b"1e999",
)


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Change bytes in one to six places: flip, replace, insert, delete, repeat, cut, move."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 6)):
        at, size = rng.randrange(len(changed) + 1), rng.randint(1, 1 + len(changed) // 8)
        part = changed[at : at + size]
        kind = rng.randrange(7)
        if kind == 0 and at < len(changed):
            changed[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            changed[at : at + len(part)] = rng.randbytes(len(part))
        elif kind == 2:
            changed[at:at] = rng.choice(_TOKENS)
        elif kind == 3:
            del changed[at : at + size]
        elif kind == 4:
            changed[at:at] = part * rng.randint(1, 4)
        elif kind == 5:
            del changed[at:]
        else:
            del changed[at : at + size]
            other = rng.randrange(len(changed) + 1)
            changed[other:other] = part
    return bytes(changed[:100_000])


def messages() -> Sequence[tuple[str, bytes]]:
    """(method, message) to mutate."""
    service, generation = "/imagegen.v1.JobService/", "/imagegen.v1.GenerationService/"
    # The family is refused at the end of all checks, so that no work is queued.
    request = pb.GenerateRequest(text_to_image=pb.TextToImage(), prompt="an apple", family="nobody", steps=3, seed=7)
    hook = jobs_pb2.Webhook(url="http://localhost:1/hook")
    created = jobs_pb2.CreateJobRequest(request=request, webhook=hook)
    edited = pb.GenerateRequest(edit=pb.Edit(image=pb.ImageSource(data=b"no picture")), family="nobody")
    return (
        (service + "CreateJob", created.SerializeToString()),
        (generation + "Generate", request.SerializeToString()),
        (generation + "Generate", edited.SerializeToString()),
        (service + "GetJob", jobs_pb2.GetJobRequest(job_id="A" * 22).SerializeToString()),
        (service + "ListJobs", b"\x08\x03\x12\x03abc"),
        (service + "CancelJob", jobs_pb2.CancelJobRequest(job_id="A" * 22).SerializeToString()),
        (service + "DeleteJob", jobs_pb2.DeleteJobRequest(job_id="A" * 22).SerializeToString()),
        (service + "ReadResult", jobs_pb2.ReadResultRequest(name="A" * 22 + ".png").SerializeToString()),
        ("/grpc.health.v1.Health/Check", b"\x0a\x04live"),
    )


def documents(rng: random.Random) -> Iterator[bytes]:
    """JSON: values put anywhere, half of them then changed as bytes. The family is nobody's, so no work is queued."""
    values = [value for value in VALUES.values() if len(json.dumps(value)) < 5000]
    names = ["url", "width", "height", "fit", "padding", "preset", "target", "caption", "background", "enhancements"]
    names += ["webhooks", "imagegen", "x"]
    while True:
        document = json.loads(json.dumps(BASE))
        for _ in range(rng.randint(1, 4)):
            inner = rng.choice([document, document["background"], document["background"]["generate"]])
            inner[rng.choice([*names, *inner])] = rng.choice(values)
            if not isinstance(document.get("background"), dict) or "generate" not in document["background"]:
                break
            if not isinstance(document["background"]["generate"], dict):
                break
        if isinstance(document.get("background"), dict) and isinstance(document["background"].get("generate"), dict):
            document["background"]["generate"]["model_type"] = "nobody"
        else:
            document["preset"] = "nobody"
        text = json.dumps(document).encode()
        yield mutate(text, rng) if rng.random() < 0.5 else text


def heads(key: str) -> Sequence[bytes]:
    """Requests to mutate as bytes."""
    body, keyed = b'{"preset": "nobody"}', f"HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\n"
    return (
        f"GET /rest_api/me {keyed}accept: */*\r\n\r\n".encode(),
        f"POST /rest_api/process {keyed}content-length: {len(body)}\r\n\r\n".encode() + body,
        f"POST /rest_api/process {keyed}transfer-encoding: chunked\r\n\r\n".encode()
        + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body),
        b"GET /results/abc.png HTTP/1.0\r\nif-none-match: *\r\nrange: bytes=1-\r\n\r\n",
        b"HEAD /healthz?a=b HTTP/1.1\r\nhost: x\r\nconnection: close\r\nexpect: 100-continue\r\n\r\n" * 2,
    )


def pictures() -> Sequence[bytes]:
    """Files to mutate."""
    scene = np.random.default_rng(1).integers(0, 255, (40, 56, 3), np.uint8)
    return [encode(scene, kind) for kind in (".png", ".jpg", ".webp", ".bmp", ".tiff")]
