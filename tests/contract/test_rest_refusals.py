"""What the REST contract answers to wrong requests and to a service that refuses: every row of the errors."""

import json
from typing import Any

import grpc
import pytest

from orchestrator.errors import (
    ImagegenError,
    PreconditionError,
    QueueFullError,
    UnsupportedTaskError,
)
from tests.contract.rest_stack import JSON, NOW, RESULT, TEXT_ONLY, Stack, generate, post

pytestmark = pytest.mark.asyncio(loop_scope="module")


# --- errors of the orchestrator


@pytest.mark.parametrize(
    ("refusal", "code", "body", "retry_after"),
    [
        (
            QueueFullError("256 requests are already waiting.", retry_after=7.2),
            429,
            {
                "message": "Image cannot be processed right now. 256 requests are already waiting.",
                "code": "TOO_MANY_REQUESTS",
            },
            "8",
        ),
        (PreconditionError("cannot be met"), 400, {"message": "cannot be met", "code": "BAD_REQUEST"}, None),
        (UnsupportedTaskError("not that task"), 400, {"message": "not that task", "code": "BAD_REQUEST"}, None),
        (
            (grpc.StatusCode.DEADLINE_EXCEEDED, "slow"),
            504,
            {"message": "The service did not answer in time", "code": "GATEWAY_TIMEOUT"},
            None,
        ),
        (
            (grpc.StatusCode.RESOURCE_EXHAUSTED, "Received message larger than max"),
            413,
            {"message": "The request is larger than this service takes", "code": "PAYLOAD_TOO_LARGE"},
            None,
        ),
        (
            (grpc.StatusCode.UNAVAILABLE, "ipv4:127.0.0.1: connection refused"),
            503,
            {"message": "The service cannot be reached right now", "code": "SERVICE_UNAVAILABLE"},
            "2",
        ),
        (
            (grpc.StatusCode.PERMISSION_DENIED, ""),
            403,
            {"message": "No more requests are available"},
            None,
        ),
    ],
)
async def test_a_refusal(
    stack: Stack,
    refusal: ImagegenError | tuple[grpc.StatusCode, str],
    code: int,
    body: dict[str, str],
    retry_after: str | None,
) -> None:
    stack.script.refusal = refusal
    answer = await post(stack, NOW)
    assert (answer.status_code, answer.json(), answer.headers.get("Retry-After")) == (code, body, retry_after)


# --- 400: wrong requests


@pytest.mark.parametrize("side", ["width", "height"])
@pytest.mark.parametrize("value", [0, -5, 63, 16_705, 10**9, 10**10, "abc", 100.5, True, "200%", "-5", [64]])
async def test_a_side_that_is_none(stack: Stack, side: str, value: Any) -> None:
    answer = await post(stack, RESULT, **{side: value})
    assert (answer.status_code, answer.json()["code"]) == (400, "BAD_REQUEST")
    assert answer.json()["message"].startswith(f"{side} ")


async def test_too_many_pixels(stack: Stack) -> None:
    answer = await post(stack, width=4096, height=4096)
    assert answer.status_code == 400
    assert answer.json()["message"].startswith("width, height: ")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"description": ""}, "description"),
        ({"description": "  "}, "description"),
        ({"description": "x" * 100_001}, "description"),
        ({"model_type": "cubism"}, "model_type"),
        ({"sample_num": -1}, "sample_num"),
        ({"sample_num": 1.5}, "sample_num"),
        ({"sample_num": True}, "sample_num"),
        ({"sample_num": 2**63}, "sample_num"),
        ({"sample_num": 2**64}, "sample_num"),
        ({"adapter_type": "unheard of"}, "adapter_type"),
    ],
)
async def test_a_wrong_field_of_generate(stack: Stack, change: dict[str, Any], field: str) -> None:
    answer = await generate(stack, **change)
    assert (answer.status_code, answer.json()["code"]) == (400, "BAD_REQUEST")
    assert answer.json()["message"].startswith(f"background.generate.{field} ")


@pytest.mark.parametrize(
    ("change", "start"),
    [
        ({"output_format": "gif"}, "output_format "),
        ({"quality": 101}, "quality "),
        ({"output_quality": 101}, "output_quality "),
        ({"max_file_size": "many", "output_format": "jpg"}, "max_file_size "),
        ({"max_file_size": 10, "output_format": "jpg"}, "max_file_size "),
        ({"url": "storage://mine"}, "File key not specified. url must have a path"),
        ({"target": "https://a.example/b.png"}, "target must begin with storage://"),
        ({"url": "file:///etc/passwd"}, "url must be an http or https URL"),
        ({"url": "base64,not base64!"}, "url is not base64"),
        ({"enhancements": ["shine"]}, "enhancements "),
        ({"webhooks": {"complete": "ftp://hooks.example/"}}, "webhooks.complete must be an http or https URL"),
        ({"safe": True, "nsfw_parameters": {"threshold": "high"}}, "nsfw_parameters.threshold must be a number"),
        ({"safe": True, "nsfw_parameters": {"image_url": "no"}}, "nsfw_parameters.image_url must be"),
        ({"background": "blue"}, "background must be a JSON object"),
    ],
)
async def test_a_wrong_field(stack: Stack, change: dict[str, Any], start: str) -> None:
    answer = await post(stack, **change)
    assert (answer.status_code, answer.json()["code"]) == (400, "BAD_REQUEST")
    assert answer.json()["message"].startswith(start)
    assert set(answer.json()) == {"message", "code"}


async def test_what_is_not_used_is_answered_as_a_warning(stack: Stack) -> None:
    for path in (RESULT, NOW):
        answer = await post(
            stack,
            path,
            fit="crop",
            padding=5,
            enhancements=["light"],
            background={"generate": {"description": "a fox", "face_id": True, "controlnet_conditioning_scale": 0.7}},
        )
        assert answer.status_code == 200
        assert [each.partition(" is not used: ")[0] for each in answer.json()["warnings"]] == [
            "background.generate.face_id",
            "background.generate.controlnet_conditioning_scale",
            "fit",
            "padding",
            "enhancements light",
        ]
        job = answer.json()["job"]
        for place in (f"/rest_api/result/{job}", f"/v1/jobs/{job}"):
            assert (await stack.client.get(place)).json()["warnings"] == answer.json()["warnings"]
        listed = (await stack.client.get("/v1/jobs")).json()
        assert listed["jobs"][0]["warnings"] is None or listed["jobs"][0]["warnings"] == answer.json()["warnings"]
        assert "warnings" not in (await post(stack, path)).json()
        assert "warnings" not in (await stack.client.get(f"/rest_api/result/{job}")).json()


LONG = "x" * 100_001
GENERATE = "background.generate"


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        (
            {"background": {"generate": {"description": "a", "additional_prompt": LONG}}},
            f"{GENERATE}.additional_prompt",
        ),
        ({"background": {"generate": {"description": LONG, "additional_prompt": "a"}}}, f"{GENERATE}.description"),
        (
            {"background": {"generate": {"description": LONG[:60_000], "additional_prompt": LONG[:60_000]}}},
            f"{GENERATE}.description with {GENERATE}.additional_prompt",
        ),
        (
            {"url": "https://a.example/", "background": {"generate": {"additional_prompt": LONG}}},
            f"{GENERATE}.additional_prompt",
        ),
        ({"background": {"generate": {"description": "a", "negative_prompt": LONG}}}, f"{GENERATE}.negative_prompt"),
        ({"remove_background": {"type": "x"}}, "remove_background.type"),
        ({"remove_background": "x"}, "remove_background"),
        ({"remove_background": {"background": "no colour"}}, "remove_background.background"),
        ({"background_url": "x"}, "background_url"),
        ({"background": {"background_url": "x"}}, "background.background_url"),
        ({"background": {"generate": {"background_url": "x"}}}, f"{GENERATE}.background_url"),
        ({"background_url": 5}, "background_url"),
        ({"safe": True, "nsfw_parameters": {"thresold": 2}}, "nsfw_parameters.thresold"),
        ({"safe": True, "nsfw_parameters": {"image_url": "x"}}, "nsfw_parameters.image_url"),
        ({"output_quality": 101, "output_format": "jpg"}, "output_quality"),
        (
            {"url": None, "background": {"generate": {"adapter_type": "img2img", "context_images": ["x"]}}},
            f"{GENERATE}.context_images[0]",
        ),
        (
            {
                "url": None,
                "background": {"generate": {"adapter_type": "img2img", "context_images": ["https://a.example/", "x"]}},
            },
            f"{GENERATE}.context_images[1]",
        ),
    ],
)
async def test_a_field_that_becomes_another_is_named_as_it_was_sent(
    stack: Stack, fields: dict[str, Any], named: str
) -> None:
    answer = await stack.client.post(RESULT, json={"url": "https://a.example/", **fields})
    assert answer.status_code == 400, answer.text
    assert answer.json()["message"].startswith(f"{named} ")


# --- bodies that are not the documented JSON


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not JSON",
        b"null",
        b"[]",
        b'"text"',
        b"1",
        b'{"width": NaN}',
        b'{"width": Infinity}',
        b'{"width": 1' + b"0" * 5000 + b"}",
        b"[" * 99_000,
        b'{"width": "\xff"}',
        b'{"url": "\\ud800"}',
        b'{"width": 100} {"width": 100}',
    ],
)
async def test_a_body_that_is_not_a_json_object(stack: Stack, body: bytes) -> None:
    answer = await stack.client.post(RESULT, content=body, headers=JSON)
    assert (answer.status_code, answer.json()["code"]) == (400, "BAD_REQUEST")
    assert answer.json()["message"].startswith("The body ")


async def test_of_equal_keys_the_last_one_counts(stack: Stack) -> None:
    body = b'{"width": "abc", ' + json.dumps(TEXT_ONLY).encode()[1:]
    assert (await stack.client.post(RESULT, content=body, headers=JSON)).status_code == 200


@pytest.mark.parametrize("media_type", ["text/plain", "multipart/mixed; boundary=x", "application/xml", "nonsense"])
async def test_another_media_type(stack: Stack, media_type: str) -> None:
    answer = await stack.client.post(RESULT, content=b"{}", headers={"content-type": media_type})
    assert (answer.status_code, answer.json()["code"]) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert answer.json()["message"] == "Content-Type must be application/json or multipart/form-data"


@pytest.mark.parametrize("media_type", ["application/json; charset=utf-8", "Application/JSON", None])
async def test_media_types_that_pass(stack: Stack, media_type: str | None) -> None:
    headers = {"content-type": media_type} if media_type else {}
    answer = await stack.client.post(RESULT, content=json.dumps(TEXT_ONLY), headers=headers)
    assert answer.status_code == 200
