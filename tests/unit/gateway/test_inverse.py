"""What a job was asked for, as the documented JSON that repeats it. tests of the round trip have the plain fields."""

import hashlib
from typing import Any

import pytest

from gateway.translate import inverse
from imagegen.v1 import generation_pb2 as pb
from tests.unit.gateway.asking import MASK, URL, proto

FILE = "base64,aGVsbG8="
DIGEST = hashlib.sha256(b"hello").digest()


@pytest.mark.parametrize(
    "document",
    [
        {"url": URL, "background": {"generate": {"adapter_type": "face", "ip_image2": MASK, "strength": 0.2}}},
        {"url": URL, "background": {"generate": {"adapter_type": "img2img", "context_images": [MASK, URL]}}},
        {"url": URL, "width": 900, "fit": {"canvas": "outpainting"}, "background": {"generate": {"sample_num": 5}}},
        {"url": URL, "generative_upscale": True, "upscale_strength": 3},
        {"url": URL, "upscale_parameters": {"type": "text_x4"}, "width": "200%"},
        {"url": URL, "print_size": "a6", "dpi": 150},
        {"url": URL, "print_size": "letter", "print_reorientation": False},
        {"print_size": "a6", "background": {"generate": {"description": "a fox"}}},
        {"url": URL, "background": {"remove": "human", "replace": MASK}, "metadata": "prompt"},
        {"url": URL, "background": {"color": "auto", "generate": {"color": "auto"}}},
        {"url": URL, "safe": True, "nsfw_parameters": {"threshold": 0.4, "nsfw_image_url": MASK}},
        {"url": URL, "safe": False},
        {
            "background": {"generate": {"description": "a fox"}},
            "imagegen": {"steps": 9, "guidance_scale": 3.5, "sampler": "ddim", "priority": "low"},
        },
    ],
)
def test_the_document_asks_for_the_same(document: dict[str, Any]) -> None:
    message = proto(document)
    again = inverse.from_proto(message)
    assert proto(again) == message
    assert again.get("print_size") == document.get("print_size")


def test_previews_change_nothing_and_are_left_out() -> None:
    message = proto({"background": {"generate": {"description": "a fox"}}, "imagegen": {"preview_interval": 2}})
    assert inverse.from_proto(message) == {"background": {"generate": {"description": "a fox"}}}


def test_a_file_is_its_digest() -> None:
    message = pb.GenerateRequest(inpaint=pb.Inpaint(image=pb.ImageSource(sha256=DIGEST), mask=pb.ImageSource(url=MASK)))
    found = inverse.from_proto(message)
    assert found["url"] == f"sha256:{DIGEST.hex()}"
    assert found["background"]["generate"] == {"adapter_type": "inpainting", "ip_image2": MASK}


def test_the_json_of_grpc_has_no_files() -> None:
    message = proto(
        {
            "url": FILE,
            "caption": {"url": FILE},
            "background": {"generate": {"adapter_type": "img2img", "context_images": [FILE]}},
        }
    )
    assert inverse.to_grpc_json(message) == {
        "image_to_image": {"image": {"data": ""}, "references": [{"data": ""}]},
        "caption": {"image": {"data": ""}},
    }
