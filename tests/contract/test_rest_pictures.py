"""REST with pictures: the page's requests, every adapter, inline pictures, and errors that only the pictures show."""

import base64
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from google.rpc import code_pb2

from gateway.contract import request as contract
from gateway.transport import body
from gateway.transport.body import parse_json
from imagegen.v1 import generation_pb2 as pb
from imagegen.v1 import jobs_pb2
from orchestrator.errors import Reason, Violation
from tests.contract import rest_fake, rest_stack
from tests.contract.rest_fake import JOB
from tests.contract.rest_stack import NOW, RESULT, Stack

pytestmark = pytest.mark.asyncio(loop_scope="module")

URL = "https://deep-image.ai/api-example.png"
FACE_URL = "https://deep-image.ai/api-example3.jpg"
IMAGE, FACE_IMAGE = pb.ImageSource(url=URL), pb.ImageSource(url=FACE_URL)
SQUARE = pb.Size(width=1024, height=1024)
FAILED = jobs_pb2.JOB_STATE_FAILED

# Requests of the documentation, whose bodies openapi.json holds too, and what they become.
PAGE = [
    pb.GenerateRequest(generate_background=pb.GenerateBackground(image=IMAGE), prompt="item on the beach", size=SQUARE),
    pb.GenerateRequest(face=pb.Face(image=FACE_IMAGE), prompt="model on the beach", size=SQUARE),
    pb.GenerateRequest(control=pb.Control(image=FACE_IMAGE), prompt="model in the room"),
    pb.GenerateRequest(upscale=pb.Upscale(image=IMAGE), size=pb.Size(width=3000)),
]


def with_picture(adapter: str, **change: Any) -> dict[str, Any]:
    """A request of an adapter with a picture; "text": of none, without one."""
    top = change.pop("top", {})
    block = {"description": "a fox", "adapter_type": adapter, **change}
    if adapter == "text":
        return {"background": {"generate": block | {"adapter_type": None}}, **top}
    if adapter == "inpainting":
        block.setdefault("ip_image2", URL)
    return {"url": URL, "background": {"generate": block}, **top}


async def sent(stack: Stack, document: dict[str, Any]) -> pb.GenerateRequest:
    """What the orchestrator gets of a request that passes."""
    answer = await stack.client.post(NOW, json=document)
    assert answer.status_code == 200, answer.text
    (request,) = stack.script.requests
    request.ClearField("request_id")
    return request


@pytest.mark.parametrize(("document", "expected"), [*zip(contract.EXAMPLES[2:], PAGE, strict=True)])
async def test_the_pages_requests_become_these_protos(
    stack: Stack, document: dict[str, Any], expected: pb.GenerateRequest
) -> None:
    assert await sent(stack, document) == expected


async def test_the_recipes_of_the_other_pages(stack: Stack) -> None:
    inpaint = with_picture("inpainting", controlnet_conditioning_scale=0.5)
    found = await sent(stack, inpaint)
    assert found.inpaint == pb.Inpaint(image=IMAGE, mask=IMAGE, edges=pb.Edges(scale=0.5))
    stack.script.requests.clear()
    uncrop = with_picture("upscale", top={"width": 2000, "height": 1000, "fit": {"canvas": "outpainting"}})
    assert (await sent(stack, uncrop)).outpaint == pb.Outpaint(image=IMAGE)


@pytest.mark.parametrize(
    "adapter", ["generate_background", "face", "control", "control2", "upscale", "inpainting", "img2img", "text"]
)
async def test_what_generated_clients_fill_in_changes_nothing(stack: Stack, adapter: str) -> None:
    plain = await sent(stack, with_picture(adapter))
    stack.script.requests.clear()
    filled = {"quality": 85, "dpi": 300, "print_reorientation": True, "target": None, "fit": "canvas", "new_field": [1]}
    found = await sent(stack, with_picture(adapter, item_area_percentage=1, top=filled))
    assert found.output == pb.Output(quality=85)  # the proto's own default; the format stays open, so PNG
    found.ClearField("output")
    assert found == plain


# --- what the orchestrator finds out of range, in the client's words


@pytest.mark.parametrize(
    ("document", "start"),
    [
        (
            with_picture("control", controlnet_conditioning_scale=1.5),
            "background.generate.controlnet_conditioning_scale",
        ),
        (with_picture("img2img", strength=0), "background.generate.strength must be above 0"),
        (with_picture("img2img", strength=1.5), "background.generate.strength must be from 0 to 1"),
        (with_picture("generate_background", item_area_percentage=2), "background.generate.item_area_percentage must"),
        (with_picture("upscale", top={"upscale_strength": 10}), "upscale_strength must be from 1 to 9"),
        (with_picture("upscale", top={"upscale_strength": 0}), "upscale_strength must be from 1 to 9"),
        (with_picture("face", top={"width": "5000%"}), "width must be from 1 to 3200 %"),
        (with_picture("face", top={"height": "0%"}), "height must be from 1 to 3200 %"),
        (with_picture("face", top={"min_length": 17000}), "Image cannot be upscaled above 16704 x 16704 pixels limit."),
        (with_picture("face", top={"min_length": 5}), "min_length must be from 64 to 16704"),
        (with_picture("face", top={"padding": 3000}), "padding must be from 0 to 2048"),
        (with_picture("face", top={"padding": "46%"}), "padding must be from 0 to 0.45"),
        (with_picture("face", top={"width": 63}), "width must be from 64 to 16704 pixels"),
        ({"url": "https://pictures.example/" + "a" * 3000}, "url must have 1 to 2048 characters"),
        (with_picture("inpainting", ip_image2="http://" + "a" * 3000), "background.generate.ip_image2 must have 1 to"),
        ({"url": URL, "background": {"replace": "http://" + "a" * 3000}}, "background.replace must have 1 to"),
    ],
)
async def test_what_is_out_of_range_is_named(stack: Stack, document: dict[str, Any], start: str) -> None:
    answer = await stack.client.post(RESULT, json=document)
    assert (answer.status_code, answer.json()["code"]) == (400, "BAD_REQUEST")
    assert answer.json()["message"].startswith(start)


# --- what the pictures show


@pytest.mark.parametrize(
    ("code", "found", "message"),
    [
        (
            code_pb2.INVALID_ARGUMENT,
            Violation("control.image", "is not a picture; send JPEG, PNG or GIF", Reason.UNIDENTIFIED_IMAGE),
            "Unidentified image. url is not a picture; send JPEG, PNG or GIF",
        ),
        (
            code_pb2.INVALID_ARGUMENT,
            Violation("size.width_percent", "is too large", Reason.TOO_MANY_PIXELS, {"maximum": 4096}),
            "Image cannot be upscaled above 4096 x 4096 pixels limit.",
        ),
        (
            code_pb2.INVALID_ARGUMENT,
            Violation("inpaint.mask", "leads to an address that is not public"),
            "background.generate.ip_image2 leads to an address that is not public",
        ),
        (
            code_pb2.FAILED_PRECONDITION,
            Violation("face.image", "needs a face", Reason.NOT_IN_PICTURE),
            "url needs a face",
        ),
        (code_pb2.UNIMPLEMENTED, None, "other words"),
    ],
)
async def test_a_request_that_its_pictures_show_to_be_wrong(
    stack: Stack, code: int, found: Violation | None, message: str
) -> None:
    stack.script.ended = rest_fake.in_state(FAILED, code, "other words", *filter(None, [found]))
    answer = await stack.client.post(RESULT, json={"url": URL, "width": "300%"})
    body = {"message": message, "code": "BAD_REQUEST", "status": "failed", "job": JOB}
    assert (answer.status_code, answer.json()) == (400, body)
    later = await stack.client.get(f"/rest_api/result/{JOB}")
    assert (later.status_code, later.json()["status"], later.json()["job"]) == (500, "failed", JOB)


async def test_a_picture_that_was_only_edited(stack: Stack) -> None:
    edited = rest_fake.finished()
    edited.artifact.ClearField("sampler")
    edited.artifact.steps = 0
    stack.script.ended = edited
    answer = (await stack.client.post(RESULT, json={"url": URL})).json()
    assert (answer["status"], answer["steps"], "sampler" in answer) == ("complete", 0, False)


# --- pictures inside the request

BIG = 1_500_000


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="roomy_stack")
async def _roomy_stack() -> AsyncIterator[Stack]:
    async with rest_stack.stack(rest_wait_seconds=0.5, rest_max_body_bytes=4 * BIG, max_input_bytes=BIG) as running:
        yield running


@pytest.fixture
def roomy(roomy_stack: Stack) -> Stack:
    """A gateway with room for pictures, nothing seen yet."""
    roomy_stack.jobs.script = rest_fake.Script()
    return roomy_stack


def inline(size: int) -> dict[str, Any]:
    """A request with a picture of `size` bytes in it."""
    return {"url": "data:image/png;base64," + base64.b64encode(bytes(size)).decode()}


async def test_a_large_picture_goes_through_and_is_read_apart_from_the_event_loop(
    roomy: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = []

    def parse(content: bytes) -> object:
        threads.append(threading.current_thread())
        return parse_json(content)

    monkeypatch.setattr(body, "parse_json", parse)
    for document in (inline(BIG), {"url": URL}):
        assert (await roomy.client.post(NOW, json=document)).status_code == 200
    large, small = roomy.script.requests
    assert (len(large.edit.image.data), small.edit.image.url) == (BIG, URL)
    assert [thread is threading.main_thread() for thread in threads] == [False, True]


async def test_a_picture_beyond_the_limit(roomy: Stack) -> None:
    answer = await roomy.client.post(NOW, json=inline(BIG + 1))
    assert answer.status_code == 400
    assert answer.json() == {"message": f"url has {BIG + 1} bytes; the limit is {BIG}", "code": "BAD_REQUEST"}
