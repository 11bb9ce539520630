"""What the REST contract answers to right requests: the protos they become, and every row of the answers.

shared/contract/rest-api.md is the contract; shared/seed/image-generation.txt has the two requests of rest_stack.py.
test_rest_refusals.py has the rows of the errors.
"""

from typing import Any

import pytest
from google.rpc import code_pb2

from gateway.sentences import FAILED
from imagegen.v1 import generation_pb2 as pb
from imagegen.v1 import jobs_pb2
from tests.contract import rest_fake
from tests.contract.rest_fake import JOB, KEY
from tests.contract.rest_stack import FANTASY, NOW, PROMPT, RESULT, TEXT_ONLY, Stack, post

pytestmark = pytest.mark.asyncio(loop_scope="module")


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
    assert stack.script.metadata["x-request-id"] == "from-the-client"


async def test_a_request_id_that_may_not_be_logged_is_replaced(stack: Stack) -> None:
    answer = await stack.client.post(RESULT, json=TEXT_ONLY, headers={"X-Request-ID": "a b"})
    assert answer.headers["X-Request-ID"] == stack.script.metadata["x-request-id"] != "a b"


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
        (rest_fake.waiting(), {"status": "received", "queue": 2}),
        (rest_fake.in_state(jobs_pb2.JOB_STATE_RUNNING), {"status": "in_progress"}),
    ],
)
async def test_process_answers_at_once(stack: Stack, job: jobs_pb2.Job, word: dict[str, Any]) -> None:
    stack.script.created = job
    answer = await post(stack, NOW)
    assert (answer.status_code, answer.json()) == (200, {"job": JOB, **word})
    assert not stack.script.watched.is_set()


@pytest.mark.parametrize("job", [rest_fake.waiting(), rest_fake.in_state(jobs_pb2.JOB_STATE_RUNNING)])
async def test_process_result_past_its_wait_answers_in_progress(stack: Stack, job: jobs_pb2.Job) -> None:
    stack.script.created, stack.script.ended = job, None
    answer = await post(stack)
    assert answer.status_code == 200
    assert (answer.json()["status"], answer.json()["job"]) == ("in_progress", JOB)
    await stack.script.hung_up.wait()


@pytest.mark.parametrize(
    ("job", "word"),
    [
        (rest_fake.waiting(0), {"status": "not_started", "queue": 0}),
        (rest_fake.in_state(jobs_pb2.JOB_STATE_RUNNING), {"status": "in_progress"}),
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
        (
            rest_fake.in_state(jobs_pb2.JOB_STATE_FAILED, code_pb2.INTERNAL, "it broke"),
            f"{FAILED} (it broke)",
        ),
        (rest_fake.in_state(jobs_pb2.JOB_STATE_FAILED), FAILED),
        (rest_fake.in_state(jobs_pb2.JOB_STATE_CANCELLED), "The job was cancelled"),
    ],
)
async def test_a_failed_job(stack: Stack, job: jobs_pb2.Job, message: str) -> None:
    stack.script.ended = job
    for answer in (await post(stack), await stack.client.get(f"/rest_api/result/{JOB}")):
        assert (answer.status_code, answer.json()) == (500, {"message": message, "status": "failed", "job": JOB})


async def test_a_job_that_failed_because_triton_was_away(stack: Stack) -> None:
    stack.script.ended = rest_fake.in_state(jobs_pb2.JOB_STATE_FAILED, code_pb2.UNAVAILABLE, "Triton is unreachable")
    answer = await post(stack)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
    body = {"message": "Triton is unreachable", "code": "SERVICE_UNAVAILABLE", "status": "failed", "job": JOB}
    assert answer.json() == body
    assert (await stack.client.get(f"/rest_api/result/{JOB}")).status_code == 500
