"""Requests as twelve public callers of the documented API make them, from what those programs do: all are answered."""

import json
from typing import Any

import pytest

from tests.contract.rest_stack import NOW, RESULT, Stack

pytestmark = pytest.mark.asyncio(loop_scope="module")

URL = "https://pictures.example/a.png"
FACE = "https://pictures.example/face.png"
FILE = ("a.png", b"\x89PNG not really one", "image/png")

# Who, how the picture is sent, and the parameters; then the task that is asked for.
CALLERS: dict[str, tuple[dict[str, Any], str]] = {
    "an automation service: auto enhance": ({"url": URL, "preset": "auto_enhance"}, "edit"),
    "a web form: enhancements, wide": (
        {"url": URL, "enhancements": ["denoise", "deblur", "light"], "width": 2000},
        "edit",
    ),
    "a scanner of documents: sharp letters": (
        {"url": URL, "upscale_parameters": {"type": "text_x4"}, "width": "400%"},
        "edit",
    ),
    "a mobile backend: percent, PNG": ({"url": URL, "width": "200%", "height": "200%", "output_format": "png"}, "edit"),
    "covers of games": (
        {"url": URL, "enhancements": ["denoise", "clean"], "width": 1200, "output_format": "jpg"},
        "edit",
    ),
    "a desktop program: numbers as text": ({"url": URL, "height": "1920"}, "edit"),
    "stories with a face": (
        {
            "url": URL,
            "background": {
                "generate": {
                    "strength": 0.1,
                    "adapter_type": "face",
                    "avatar_generation_type": "creative_img2img",
                    "ip_image2": FACE,
                }
            },
        },
        "face_swap",
    ),
    "avatars": (
        {
            "url": FACE,
            "width": 1024,
            "height": 1024,
            "background": {
                "generate": {
                    "description": "portrait of a man in the mountains",
                    "adapter_type": "face",
                    "model_type": "realistic",
                    "avatar_generation_type": "regular",
                }
            },
        },
        "face",
    ),
    "a shop: one face only": (
        {
            "url": FACE,
            "width": 768,
            "height": 768,
            "background": {
                "generate": {
                    "description": "portrait",
                    "adapter_type": "face",
                    "ensure_single_face": True,
                }
            },
        },
        "face",
    ),
    "a tool of agents: background by URL": (
        {"url": URL, "background": {"remove": "auto"}, "background_url": FACE, "webhooks": {"complete": URL}},
        "edit",
    ),
    "car dealers: crop to what is shown": (
        {"url": URL, "width": 1024, "height": 768, "fit": {"crop": "content"}},
        "edit",
    ),
    "photo unification": (
        {"url": URL, "background": {"remove": "auto", "color": "#ffffff"}, "width": 800, "height": 800, "padding": 10},
        "edit",
    ),
}


@pytest.mark.parametrize("path", [RESULT, NOW])
@pytest.mark.parametrize("who", CALLERS)
async def test_a_public_caller_is_answered(stack: Stack, who: str, path: str) -> None:
    parameters, task = CALLERS[who]
    answer = await stack.client.post(path, json=parameters)
    assert answer.status_code == 200, answer.text
    assert answer.json()["job"]
    assert stack.script.requests[-1].WhichOneof("task") == task


@pytest.mark.parametrize("who", [who for who, (_, task) in CALLERS.items() if task == "edit"])
async def test_it_can_send_a_file_as_well(stack: Stack, who: str) -> None:
    parameters = {name: value for name, value in CALLERS[who][0].items() if name != "url"}
    answer = await stack.client.post(NOW, files={"image": FILE}, data={"parameters": json.dumps(parameters)})
    assert answer.status_code == 200, answer.text
    assert stack.script.requests[-1].edit.image.data == FILE[1]
