"""The contract's tables of answers and errors, row by row: status, body and words.

shared/contract/rest-api.md has the tables; each test names its row. What is behind a row is tested elsewhere.
"""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import httpx
import pytest

from gateway import sentences
from imagegen.v1 import accounts_pb2, jobs_pb2
from orchestrator.errors import (
    EngineFaultError,
    EngineUnavailableError,
    ImagegenError,
    InvalidRequestError,
    NotEnoughCreditsError,
    RateLimitedError,
    Reason,
    TooManyJobsError,
    Violation,
)
from orchestrator.webhooks.message import make_body
from tests.contract.rest_fake import JOB, KEY, finished, in_state, waiting
from tests.contract.rest_stack import NOW, RESULT, TEXT_ONLY, Stack, post

pytestmark = pytest.mark.asyncio(loop_scope="module")

GET = f"/rest_api/result/{JOB}"
POSTS = pytest.mark.parametrize("path", [RESULT, NOW])
PICTURE = {"url": "https://pictures.example/a.png", "background": None}
Body = dict[str, Any]


def answered(answer: httpx.Response, status: int, body: Body) -> bool:
    """Whether an answer is that one exactly, flat JSON, and names nothing else."""
    assert answer.headers["content-type"] == "application/json"
    assert not any(isinstance(value, dict | list) for value in answer.json().values()) or status == 200
    assert "detail" not in answer.json()
    return (answer.status_code, answer.json()) == (status, body)


# --- Endpoints


@pytest.mark.parametrize("header", ["X-API-KEY", "x-api-key", "X-Api-Key"])
async def test_auth_header_of_any_case(stack: Stack, header: str) -> None:
    assert (await stack.anonymous.get(GET, headers={header: KEY})).status_code == 200
    assert (await stack.anonymous.post(RESULT, json=TEXT_ONLY, headers={header: KEY})).status_code == 200
    assert stack.script.metadata["x-api-key"] == KEY


@POSTS
async def test_both_posts_take_json_and_multipart(stack: Stack, path: str) -> None:
    parameters = json.dumps(TEXT_ONLY)
    for body in ({"json": TEXT_ONLY}, {"files": {"parameters": (None, parameters)}}):
        assert (await stack.client.post(path, **body)).status_code == 200
    for name in ("image", "fileName"):
        sent = {"files": {name: ("a.png", b"x")}, "data": {"parameters": "{}"}}
        assert (await stack.client.post(path, **sent)).status_code == 200  # type: ignore[arg-type]  # files and data


async def test_delete_answers_a_message(stack: Stack) -> None:
    for _ in range(2):
        assert answered(await stack.client.delete(GET), 200, {"message": "Image deleted"})
    assert answered(await stack.client.get(GET), 404, {"message": "Image deleted", "status": "complete"})


async def test_me_has_the_documented_fields(stack: Stack) -> None:
    stack.script.account = accounts_pb2.Account(name="alice", email="a@b.example", credits=5, key_prefix="ig_abc")
    body = (await stack.client.get("/rest_api/me")).json()
    documented = {"username", "email", "credits", "api_key", "language", "webhooks", "billing_address"}
    assert documented <= body.keys()
    assert (body["username"], body["email"], body["credits"]) == ("alice", "a@b.example", 5)


# --- Answers


@pytest.mark.parametrize(
    ("path", "job", "body"),
    [
        (NOW, waiting(2), {"status": "received", "job": JOB, "queue": 2}),
        (RESULT, waiting(2), {"status": "in_progress", "job": JOB, "queue": 2}),  # past its wait
        (NOW, in_state(jobs_pb2.JOB_STATE_RUNNING), {"status": "in_progress", "job": JOB}),
        (RESULT, in_state(jobs_pb2.JOB_STATE_RUNNING), {"status": "in_progress", "job": JOB}),
        (GET, waiting(0), {"status": "not_started", "job": JOB, "queue": 0}),
        (GET, in_state(jobs_pb2.JOB_STATE_RUNNING), {"status": "in_progress", "job": JOB}),
    ],
)
async def test_pending_is_200(stack: Stack, path: str, job: jobs_pb2.Job, body: Body) -> None:
    stack.script.created, stack.script.ended = job, None
    answer = await (stack.client.get(path) if path == GET else post(stack, path))
    assert answered(answer, 200, body)
    if path == NOW:
        assert not stack.script.watched.is_set()
    if path == RESULT:
        await stack.script.hung_up.wait()


@pytest.mark.parametrize("path", [RESULT, GET])
async def test_complete_is_200_with_its_url(stack: Stack, path: str) -> None:
    answer = await (stack.client.get(path) if path == GET else post(stack, path))
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


@pytest.mark.parametrize("path", [RESULT, GET])
@pytest.mark.parametrize(
    ("job", "message"),
    [
        (
            in_state(jobs_pb2.JOB_STATE_FAILED, 13, "internal error; request id 7"),
            f"{sentences.FAILED} (internal error; request id 7)",
        ),
        (in_state(jobs_pb2.JOB_STATE_FAILED), sentences.FAILED),
        (in_state(jobs_pb2.JOB_STATE_CANCELLED), "The job was cancelled"),
    ],
)
async def test_a_failed_job_is_500_on_post_and_get_alike(
    stack: Stack, path: str, job: jobs_pb2.Job, message: str
) -> None:
    stack.script.ended = job
    answer = await (stack.client.get(path) if path == GET else post(stack, path))
    assert answered(answer, 500, {"message": message, "status": "failed", "job": JOB})


# --- Errors: 400


@POSTS
@pytest.mark.parametrize(
    "body",
    [
        {},
        {"width": 100},
        {"background": {"generate": {"adapter_type": "face"}}},
        {"background": {"generate": {"model_type": "fantasy"}}},
    ],
)
async def test_no_picture(stack: Stack, path: str, body: Body) -> None:
    """Without a code, as documented."""
    assert answered(await stack.client.post(path, json=body), 400, {"message": "File or image url is required"})


def refused(error: ImagegenError, status: int, body: Body, retry_after: str | None = None) -> Any:
    return pytest.param(error, status, body, retry_after, id=body["message"][:40])


@POSTS
@pytest.mark.parametrize(
    ("error", "status", "body", "retry_after"),
    [
        refused(
            NotEnoughCreditsError("a picture costs 2 credits, and the account has 1"),
            400,
            {
                "message": "You dont have enough credits to perform those actions: a picture costs 2 credits, and the "
                "account has 1",
                "code": "NOT_ENOUGH_CREDITS",
            },
        ),
        refused(
            InvalidRequestError(Violation("request.edit.image.url", "names mine", Reason.STORAGE_UNKNOWN)),
            400,
            {"message": "Invalid source storage. url names mine", "code": "BAD_REQUEST"},
        ),
        refused(
            InvalidRequestError(
                Violation("request.edit.image", "is not a picture; send JPEG or PNG", Reason.UNIDENTIFIED_IMAGE)
            ),
            400,
            {"message": "Unidentified image. url is not a picture; send JPEG or PNG", "code": "BAD_REQUEST"},
        ),
        refused(
            TooManyJobsError(4, 4),
            429,
            {
                "message": "Image cannot be processed right now. "
                "Your rate limit is 4 and you are currently processing 4 images.",
                "code": "TOO_MANY_REQUESTS",
            },
            "1",
        ),
        refused(
            EngineUnavailableError("the networks are not ready", retry_after=7),
            503,
            {"message": "the networks are not ready", "code": "SERVICE_UNAVAILABLE"},
            "7",
        ),
    ],
)
async def test_what_the_orchestrator_refuses(
    stack: Stack, path: str, error: ImagegenError, status: int, body: Body, retry_after: str | None
) -> None:
    stack.script.refusal = error
    answer = await post(stack, path, **PICTURE)
    assert answered(answer, status, body)
    assert answer.headers.get("Retry-After") == retry_after


@POSTS
async def test_no_such_preset(stack: Stack, path: str) -> None:
    answer = await post(stack, path, preset="mine")
    assert answered(answer, 400, {"message": "Preset mine not found!"})


@POSTS
async def test_too_many_requests_in_a_minute(stack: Stack, path: str) -> None:
    """The documented sentence, and when the next request will be taken."""
    stack.script.refusal = RateLimitedError("the account may send 60 requests in a minute", retry_after=3)
    answer = await post(stack, path)
    assert answer.status_code == 403
    assert answer.headers["Retry-After"] == "3"
    message = answer.json()["message"]
    found = re.fullmatch(r"No more requests are available\. Next requests available (\S+): the account may .*", message)
    assert found is not None
    assert abs(datetime.fromisoformat(found[1]) - datetime.now(UTC)) < timedelta(minutes=1)


@POSTS
async def test_above_the_limit(stack: Stack, path: str) -> None:
    """The documented sentence, with the limit of a side, or of the square that the area's limit allows."""
    sizes: list[tuple[Body, int]] = [
        ({"width": 17000, "height": None}, 16704),
        ({"width": 17000, "height": 19000}, 16704),
        ({"width": 4000, "height": 4000}, 2048),
        ({"width": 4096, "height": 4096}, 2048),
    ]
    for size, limit in sizes:
        said = f"Image cannot be upscaled above {limit} x {limit} pixels limit."
        for upscale in (False, True):
            answer = await post(stack, path, **PICTURE, **size, generative_upscale=upscale)
            assert answered(answer, 400, {"message": said, "code": "BAD_REQUEST"})


async def test_an_unidentified_image_shows_once_it_was_fetched(stack: Stack) -> None:
    """On POST it is the request's fault, and 400; on GET it is a job that failed."""
    wrong = Violation("edit.image", "is not a picture; send PNG", Reason.UNIDENTIFIED_IMAGE)
    stack.script.ended = in_state(jobs_pb2.JOB_STATE_FAILED, 3, "other words", wrong)
    body: Body = {"message": "Unidentified image. url is not a picture; send PNG", "status": "failed", "job": JOB}
    assert answered(await post(stack, RESULT, **PICTURE), 400, {**body, "code": "BAD_REQUEST"})
    assert answered(await stack.client.get(GET), 500, body)


# --- Errors: 403, 404, 429, 500


@pytest.mark.parametrize(("method", "path"), [("POST", RESULT), ("POST", NOW), ("GET", GET), ("DELETE", GET)])
async def test_keys(stack: Stack, method: str, path: str) -> None:
    json_body = TEXT_ONLY if method == "POST" else None
    missing = await stack.anonymous.request(method, path, json=json_body)
    assert answered(missing, 403, {"message": "No x-api-key header is provided"})
    for key in (b"unknown", b"k" * 300, "kéy".encode()):
        unknown = await stack.anonymous.request(method, path, json=json_body, headers={b"X-API-KEY": key})
        assert answered(unknown, 404, {"message": "No user found for provided token"})


async def test_no_such_job(stack: Stack) -> None:
    for method in ("GET", "DELETE"):
        answer = await stack.client.request(method, "/rest_api/result/another")
        assert answered(answer, 404, {"message": "Job not found"})


@POSTS
@pytest.mark.parametrize(
    "refusal", [RuntimeError("inner words"), EngineFaultError("inner words"), (grpc.StatusCode.UNKNOWN, "inner words")]
)
async def test_what_nobody_expected_is_500_with_a_code(stack: Stack, path: str, refusal: Any) -> None:
    stack.script.refusal = refusal
    answer = await post(stack, path)
    request_id = answer.headers["X-Request-ID"]
    said = f"Something went wrong here. Request id: {request_id}"
    assert answered(answer, 500, {"message": said, "code": "INTERNAL_ERROR"})


# --- Webhook body


async def test_the_webhook_has_the_documented_fields() -> None:
    body = json.loads(make_body(JOB, json.dumps({"url": "https://a.example/"}), "https://a.example/r.png", None))
    documented = {"job", "data", "result_url", "results"}
    assert set(body) == documented
    assert body == {
        "job": JOB,
        "data": {"url": "https://a.example/"},
        "result_url": "https://a.example/r.png",
        "results": None,
    }


async def test_200_and_nothing_else_is_success(stack: Stack) -> None:
    """Generated clients return nothing for 201 and 202."""
    for job in (waiting(), in_state(jobs_pb2.JOB_STATE_RUNNING), finished()):
        stack.script.created, stack.script.ended = job, job
        for answer in (await post(stack, NOW), await post(stack, RESULT), await stack.client.get(GET)):
            assert answer.status_code == 200
            assert answer.json()["status"] in {"received", "not_started", "in_progress", "complete"}
