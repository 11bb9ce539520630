"""Every row of the answers and errors of the REST contract that text-to-image can reach: status, body, words.

shared/contract/rest-api.md is the contract; its page shared/seed/image-generation.txt gives the two requests below.
"""

import json
from collections.abc import AsyncIterator
from typing import Any

import grpc
import httpx
import pytest
import pytest_asyncio
from google.rpc import code_pb2
from grpc_health.v1 import health_pb2

from imagegen.v1 import generation_pb2 as pb
from imagegen.v1 import jobs_pb2
from orchestrator.errors import (
    EngineFaultError,
    EngineUnavailableError,
    ImagegenError,
    PreconditionError,
    QueueFullError,
    UnsupportedTaskError,
)
from tests.contract import rest_stack
from tests.contract.rest_stack import JOB, KEY, Script, Stack

pytestmark = pytest.mark.asyncio(loop_scope="module")

PROMPT = (
    "woman in a futuristic suit holding a gun in her hand, looking at the camera, cyberpunk art, neo-figurative, anime"
)
TEXT_ONLY = {"width": 2048, "height": 1024, "background": {"generate": {"description": PROMPT}}}
FANTASY = {
    "width": 2048,
    "height": 1024,
    "background": {"generate": {"description": PROMPT, "model_type": "fantasy"}},
}
RESULT, NOW = "/rest_api/process_result", "/rest_api/process"
JSON = {"content-type": "application/json"}


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="running")
async def _running() -> AsyncIterator[Stack]:
    async with rest_stack.stack(wait_seconds=0.5, max_body_bytes=200_000) as running:
        yield running


@pytest.fixture(name="stack")
def _stack(running: Stack) -> Stack:
    running.jobs.script = Script()
    return running


async def post(stack: Stack, path: str = RESULT, **change: Any) -> httpx.Response:
    """Send the text-only request, changed at its top."""
    return await stack.client.post(path, json={**TEXT_ONLY, **change})


async def generate(stack: Stack, **change: Any) -> httpx.Response:
    """Send the text-only request, changed in background.generate."""
    return await post(stack, background={"generate": {"description": PROMPT, **change}})


# --- what is sent on


@pytest.mark.parametrize("path", [RESULT, NOW])
@pytest.mark.parametrize(("body", "family"), [(TEXT_ONLY, None), (FANTASY, "fantasy")])
async def test_the_pages_requests_become_these_protos(
    stack: Stack, path: str, body: dict[str, Any], family: str | None
) -> None:
    assert (await stack.client.post(path, json=body)).status_code == 200
    (sent,) = stack.script.requests
    expected = pb.GenerateRequest(
        text_to_image=pb.TextToImage(),
        prompt=PROMPT,
        size=pb.Size(width=2048, height=1024),
        family=family,
        request_id=sent.request_id,
    )
    assert sent == expected


async def test_what_generated_clients_fill_in_changes_nothing(stack: Stack) -> None:
    filled = {"quality": 85, "dpi": 300, "print_reorientation": True, "target": None, "fit": "canvas", "new_field": [1]}
    body = {**TEXT_ONLY, **filled, "background": {"generate": {"description": PROMPT, "item_area_percentage": 1}}}
    assert (await stack.client.post(RESULT, json=body)).status_code == 200
    (sent,) = stack.script.requests
    assert sent.output == pb.Output(quality=85)  # the proto's own default; the format stays open, so PNG


@pytest.mark.parametrize("name", ["X-API-KEY", "x-api-key", "X-Api-Key"])
async def test_the_key_in_any_case_reaches_the_orchestrator(stack: Stack, name: str) -> None:
    answer = await stack.anonymous.post(RESULT, json=TEXT_ONLY, headers={name: KEY})
    assert answer.status_code == 200
    assert stack.script.metadata["x-api-key"] == KEY


async def test_the_request_id_goes_through_and_comes_back(stack: Stack) -> None:
    answer = await stack.client.post(RESULT, json=TEXT_ONLY, headers={"X-Request-ID": "from-the-client"})
    assert answer.headers["X-Request-ID"] == "from-the-client"
    assert stack.script.requests[0].request_id == "from-the-client"
    assert stack.script.metadata["x-request-id"] == "from-the-client"


async def test_a_request_id_that_may_not_be_logged_is_replaced(stack: Stack) -> None:
    answer = await stack.client.post(RESULT, json=TEXT_ONLY, headers={"X-Request-ID": "a b"})
    assert answer.headers["X-Request-ID"] == stack.script.requests[0].request_id != "a b"


# --- 200


async def test_a_finished_job(stack: Stack) -> None:
    answer = await post(stack)
    assert answer.status_code == 200
    assert answer.json() == {
        "status": "complete",
        "job": JOB,
        "result_url": "https://pictures.example/results/name.png",
        "seed": 2**53 - 1,
        "steps": 20,
        "width": 2048,
        "height": 1024,
        "model_type": "realistic",
        "sampler": "euler",
        "output_format": "png",
        "file_size": 1234,
        "timings": {"encode": 0.25, "denoise": 1.5},
        "request_id": "r-1",
    }
    assert (await stack.client.get(f"/rest_api/result/{JOB}")).json() == answer.json()


@pytest.mark.parametrize(
    ("job", "word"),
    [
        (rest_stack.waiting(), {"status": "received", "queue": 2}),
        (rest_stack.in_state(jobs_pb2.JOB_STATE_RUNNING), {"status": "in_progress"}),
    ],
)
async def test_process_answers_at_once(stack: Stack, job: jobs_pb2.Job, word: dict[str, Any]) -> None:
    stack.script.created = job
    answer = await post(stack, NOW)
    assert (answer.status_code, answer.json()) == (200, {"job": JOB, **word})
    assert not stack.script.watched.is_set()


@pytest.mark.parametrize("job", [rest_stack.waiting(), rest_stack.in_state(jobs_pb2.JOB_STATE_RUNNING)])
async def test_process_result_past_its_wait_answers_in_progress(stack: Stack, job: jobs_pb2.Job) -> None:
    stack.script.created, stack.script.ended = job, None
    answer = await post(stack)
    assert answer.status_code == 200
    assert (answer.json()["status"], answer.json()["job"]) == ("in_progress", JOB)
    await stack.script.hung_up.wait()


@pytest.mark.parametrize(
    ("job", "word"),
    [
        (rest_stack.waiting(0), {"status": "not_started", "queue": 0}),
        (rest_stack.in_state(jobs_pb2.JOB_STATE_RUNNING), {"status": "in_progress"}),
    ],
)
async def test_get_of_a_pending_job(stack: Stack, job: jobs_pb2.Job, word: dict[str, Any]) -> None:
    stack.script.ended = job
    answer = await stack.client.get(f"/rest_api/result/{JOB}")
    assert (answer.status_code, answer.json()) == (200, {"job": JOB, **word})


async def test_delete_and_what_get_says_then(stack: Stack) -> None:
    for _ in range(2):
        answer = await stack.client.delete(f"/rest_api/result/{JOB}")
        assert (answer.status_code, answer.json()) == (200, {"message": "Image deleted"})
    answer = await stack.client.get(f"/rest_api/result/{JOB}")
    assert (answer.status_code, answer.json()) == (404, {"message": "Image deleted", "status": "complete"})


# --- 500: a job that failed


@pytest.mark.parametrize(
    ("job", "message"),
    [
        (rest_stack.in_state(jobs_pb2.JOB_STATE_FAILED, code_pb2.INTERNAL, "it broke"), "it broke"),
        (rest_stack.in_state(jobs_pb2.JOB_STATE_FAILED), "The picture could not be made"),
        (rest_stack.in_state(jobs_pb2.JOB_STATE_CANCELLED), "The job was cancelled"),
    ],
)
async def test_a_failed_job(stack: Stack, job: jobs_pb2.Job, message: str) -> None:
    stack.script.ended = job
    for answer in (await post(stack), await stack.client.get(f"/rest_api/result/{JOB}")):
        assert (answer.status_code, answer.json()) == (500, {"message": message, "status": "failed", "job": JOB})


async def test_a_job_that_failed_because_triton_was_away(stack: Stack) -> None:
    stack.script.ended = rest_stack.in_state(jobs_pb2.JOB_STATE_FAILED, code_pb2.UNAVAILABLE, "Triton is away")
    answer = await post(stack)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
    body = {"message": "Triton is away", "code": "SERVICE_UNAVAILABLE", "status": "failed", "job": JOB}
    assert answer.json() == body
    assert (await stack.client.get(f"/rest_api/result/{JOB}")).status_code == 500


# --- keys


async def test_no_key(stack: Stack) -> None:
    for method, path in (("POST", RESULT), ("POST", NOW), ("GET", f"/rest_api/result/{JOB}")):
        answer = await stack.anonymous.request(method, path, json=TEXT_ONLY)
        assert (answer.status_code, answer.json()) == (403, {"message": "No x-api-key header is provided"})


@pytest.mark.parametrize("key", [b"another", b"k" * 300, "kéy".encode()])
async def test_an_unknown_key(stack: Stack, key: bytes) -> None:
    answer = await stack.anonymous.post(RESULT, json=TEXT_ONLY, headers={b"X-API-KEY": key})
    assert (answer.status_code, answer.json()) == (404, {"message": "No user found for provided token"})


# --- errors of the orchestrator


@pytest.mark.parametrize(
    ("refusal", "code", "body", "retry_after"),
    [
        (
            QueueFullError("256 requests wait already.", retry_after=7.2),
            429,
            {
                "message": "Image cannot be processed right now. 256 requests wait already.",
                "code": "TOO_MANY_REQUESTS",
            },
            "8",
        ),
        (
            EngineUnavailableError("Triton does not answer", retry_after=3),
            503,
            {"message": "Triton does not answer", "code": "SERVICE_UNAVAILABLE"},
            "3",
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


@pytest.mark.parametrize("refusal", [EngineFaultError("secret"), (grpc.StatusCode.UNKNOWN, "secret")])
async def test_an_inner_error_keeps_its_words_inside(stack: Stack, refusal: Any) -> None:
    stack.script.refusal = refusal
    answer = await post(stack)
    request_id = answer.headers["X-Request-ID"]
    assert answer.status_code == 500
    assert answer.json() == {
        "message": f"Something went wrong here. Request id: {request_id}",
        "code": "INTERNAL_ERROR",
    }


async def test_a_job_that_nobody_has(stack: Stack) -> None:
    for method in ("GET", "DELETE"):
        answer = await stack.client.request(method, "/rest_api/result/unknown")
        assert (answer.status_code, answer.json()) == (404, {"message": "Job not found"})


# --- 400: wrong requests


@pytest.mark.parametrize("body", [{}, {"width": 100}, {"background": {"generate": {"model_type": "fantasy"}}}])
async def test_neither_picture_nor_prompt(stack: Stack, body: dict[str, Any]) -> None:
    answer = await stack.client.post(RESULT, json=body)
    assert (answer.status_code, answer.json()) == (400, {"message": "File or image url is required"})


@pytest.mark.parametrize("side", ["width", "height"])
@pytest.mark.parametrize("value", [0, -5, 63, 4097, 10**9, 10**10, "abc", 100.5, True, "200%", "-5", [64]])
async def test_a_side_that_is_none(stack: Stack, side: str, value: Any) -> None:
    answer = await post(stack, RESULT, **{side: value})
    assert (answer.status_code, answer.json()["code"]) == (400, "BAD_REQUEST")
    assert answer.json()["message"].startswith(f"{side} ")


async def test_too_many_pixels(stack: Stack) -> None:
    answer = await post(stack, width=4096, height=4097)
    assert answer.json()["message"].startswith("height must be from 64 to 4096 pixels, not 4097")


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
        ({"ip_image2": "https://pictures.example/m.png"}, "ip_image2"),
        ({"item_area_percentage": 0.5}, "item_area_percentage"),
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
        ({"url": "https://pictures.example/a.png"}, "url "),
        ({"url": "https://pictures.example/a.png", "width": "200%"}, "url "),
        ({"preset": "real_estate"}, "Preset real_estate not found!"),
        ({"enhancements": ["denoise"]}, "enhancements "),
        ({"fit": {"canvas": "outpainting"}}, "fit "),
        ({"webhooks": {"complete": "https://hooks.example/"}}, "webhooks.complete "),
        ({"safe": True}, "safe "),
        ({"background": "blue"}, "background must be a JSON object"),
    ],
)
async def test_a_wrong_field(stack: Stack, change: dict[str, Any], start: str) -> None:
    answer = await post(stack, **change)
    assert (answer.status_code, answer.json()["code"]) == (400, "BAD_REQUEST")
    assert answer.json()["message"].startswith(start)
    assert set(answer.json()) == {"message", "code"}


@pytest.mark.parametrize("name", ["face", "control", "control2", "upscale", "inpainting", "img2img"])
async def test_an_adapter_that_needs_a_picture(stack: Stack, name: str) -> None:
    answer = await generate(stack, adapter_type=name)
    assert (answer.status_code, answer.json()) == (400, {"message": "File or image url is required"})


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


@pytest.mark.parametrize("media_type", ["text/plain", "multipart/form-data; boundary=x", "application/xml", "nonsense"])
async def test_another_media_type(stack: Stack, media_type: str) -> None:
    answer = await stack.client.post(RESULT, content=b"{}", headers={"content-type": media_type})
    assert (answer.status_code, answer.json()["code"]) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert answer.json()["message"].startswith("Content-Type must be application/json.")


@pytest.mark.parametrize("media_type", ["application/json; charset=utf-8", "Application/JSON", None])
async def test_media_types_that_pass(stack: Stack, media_type: str | None) -> None:
    headers = {"content-type": media_type} if media_type else {}
    answer = await stack.client.post(RESULT, content=json.dumps(TEXT_ONLY), headers=headers)
    assert answer.status_code == 200


# --- paths


@pytest.mark.parametrize(
    ("method", "path", "code", "body"),
    [
        ("GET", "/nothing", 404, {"message": "Not Found", "code": "NOT_FOUND"}),
        ("GET", "/rest_api/process", 405, {"message": "Method Not Allowed", "code": "METHOD_NOT_ALLOWED"}),
        ("POST", "/rest_api/process/", 404, {"message": "Not Found", "code": "NOT_FOUND"}),
    ],
)
async def test_no_such_path(stack: Stack, method: str, path: str, code: int, body: dict[str, str]) -> None:
    answer = await stack.client.request(method, path)
    assert (answer.status_code, answer.json()) == (code, body)
    assert answer.headers["X-Request-ID"]


async def test_probes(stack: Stack) -> None:
    assert (await stack.client.get("/healthz")).json() == {"status": "ok"}
    assert (await stack.client.get("/readyz")).json() == {"status": "ready"}
    await stack.health.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
    answer = await stack.client.get("/readyz")
    await stack.health.set("", health_pb2.HealthCheckResponse.SERVING)
    assert (answer.status_code, answer.json()["code"]) == (503, "SERVICE_UNAVAILABLE")
    assert (await stack.client.get("/healthz")).status_code == 200


# --- pictures

PICTURE = [b"\x89PNG" + b"a" * 65_532, b"b" * 65_536, b"c"]


@pytest.mark.parametrize(
    ("stored", "served"),
    [
        ("image/png", "image/png"),
        ("image/jpeg", "image/jpeg"),
        ("image/webp", "image/webp"),
        ("text/html", "application/octet-stream"),
    ],
)
async def test_a_picture_and_its_headers(stack: Stack, stored: str, served: str) -> None:
    stack.script.files["name.png"] = (stored, PICTURE)
    whole, head = await stack.anonymous.get("/results/name.png"), await stack.anonymous.head("/results/name.png")
    assert (whole.content, head.content) == (b"".join(PICTURE), b"")
    assert "x-api-key" not in stack.script.metadata
    for answer in (whole, head):
        assert answer.status_code == 200
        assert answer.headers["Content-Type"] == served
        assert answer.headers["Content-Length"] == str(sum(map(len, PICTURE)))
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Content-Disposition"] == "inline"
        assert answer.headers["Cache-Control"] == "private, max-age=86400, immutable"


async def test_no_such_picture(stack: Stack) -> None:
    answer = await stack.client.get("/results/gone.png")
    assert (answer.status_code, answer.json()) == (404, {"message": "Image not found"})
    assert (await stack.client.head("/results/gone.png")).status_code == 404


async def test_the_description_names_what_is_served(stack: Stack) -> None:
    described = (await stack.client.get("/openapi.json")).json()
    assert set(described["paths"]) == {RESULT, NOW, "/rest_api/result/{job}", "/results/{name}", "/healthz", "/readyz"}
    assert "422" not in json.dumps(described)
    fields = described["components"]["schemas"]["ProcessRequest"]["properties"]
    assert {"url", "width", "height", "background", "output_format", "quality"} <= set(fields)
