"""What the gateway sends on: the protos of the page's requests, and request ids.

shared/contract/rest-api.md is the contract; shared/seed/image-generation.txt has the two requests of rest_stack.py.
test_rest_tables.py has the rows of the answers and errors.
"""

from typing import Any

import pytest
from google.rpc import code_pb2

from imagegen.v1 import generation_pb2 as pb
from imagegen.v1 import jobs_pb2
from tests.contract import rest_fake
from tests.contract.rest_fake import JOB
from tests.contract.rest_stack import FANTASY, NOW, PROMPT, RESULT, TEXT_ONLY, Stack, post

pytestmark = pytest.mark.asyncio(loop_scope="module")


# --- what is sent on


@pytest.mark.parametrize("path", [RESULT, NOW])
@pytest.mark.parametrize(("body", "family"), [(TEXT_ONLY, None), (FANTASY, "fantasy")])
async def test_requests_without_a_picture_become_these_protos(
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


async def test_the_request_id_goes_through_and_comes_back(stack: Stack) -> None:
    answer = await stack.client.post(RESULT, json=TEXT_ONLY, headers={"X-Request-ID": "from-the-client"})
    assert answer.headers["X-Request-ID"] == "from-the-client"
    assert stack.script.metadata["x-request-id"] == "from-the-client"


async def test_a_request_id_that_may_not_be_logged_is_replaced(stack: Stack) -> None:
    answer = await stack.client.post(RESULT, json=TEXT_ONLY, headers={"X-Request-ID": "a b"})
    assert answer.headers["X-Request-ID"] == stack.script.metadata["x-request-id"] != "a b"


async def test_a_job_that_failed_because_triton_was_unreachable(stack: Stack) -> None:
    stack.script.ended = rest_fake.in_state(jobs_pb2.JOB_STATE_FAILED, code_pb2.UNAVAILABLE, "Triton is unreachable")
    answer = await post(stack)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
    body = {"message": "Triton is unreachable", "code": "SERVICE_UNAVAILABLE", "status": "failed", "job": JOB}
    assert answer.json() == body
    assert (await stack.client.get(f"/rest_api/result/{JOB}")).status_code == 500
