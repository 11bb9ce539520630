"""What is kept of a job's request."""

import hashlib

from imagegen.v1 import generation_pb2 as pb
from orchestrator.api.converters.manifest import MAX_MANIFEST, to_manifest, without_pictures

FILE, MASK = b"file" * 100_000, b"mask"


def digest(data: bytes) -> pb.ImageSource:
    return pb.ImageSource(sha256=hashlib.sha256(data).digest())


def test_files_are_digests_and_all_else_stays() -> None:
    request = pb.GenerateRequest(
        inpaint=pb.Inpaint(image=pb.ImageSource(data=FILE), mask=pb.ImageSource(data=MASK), strength=0.5),
        prompt="a red apple",
        seed=0,
        request_id="mine",
        output=pb.Output(format=pb.IMAGE_FORMAT_WEBP),
        caption=pb.Caption(image=pb.ImageSource(url="https://a.example/logo.png")),
        enhancements=[pb.Enhancement(kind=pb.ENHANCEMENT_KIND_DENOISE), pb.Enhancement(kind=pb.ENHANCEMENT_KIND_LIGHT)],
        size=pb.Size(width=0),
    )
    expected = pb.GenerateRequest()
    expected.CopyFrom(request)
    expected.inpaint.image.CopyFrom(digest(FILE))
    expected.inpaint.mask.CopyFrom(digest(MASK))
    assert without_pictures(request) == expected
    expected.ClearField("request_id")
    assert pb.GenerateRequest.FromString(to_manifest(request) or b"") == expected
    assert request.inpaint.image.data == FILE


def test_references_keep_their_order_and_an_empty_task_stays() -> None:
    sources = [pb.ImageSource(data=b"1"), pb.ImageSource(url="https://a.example/2.png"), pb.ImageSource(data=b"3")]
    kept = without_pictures(pb.GenerateRequest(image_to_image=pb.ImageToImage(references=sources)))
    assert list(kept.image_to_image.references) == [digest(b"1"), sources[1], digest(b"3")]
    assert without_pictures(pb.GenerateRequest(text_to_image=pb.TextToImage())).WhichOneof("task") == "text_to_image"


def test_what_is_too_long_is_not_kept() -> None:
    assert to_manifest(pb.GenerateRequest(prompt="x" * (MAX_MANIFEST + 1))) is None
    assert to_manifest(pb.GenerateRequest(prompt="x" * (MAX_MANIFEST - 100)))
