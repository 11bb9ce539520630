"""REST on durable jobs: keys, webhooks, storages, limits of accounts, whose key it is, pictures that are known."""

import hashlib
import json
import uuid

import pytest

from imagegen.v1 import accounts_pb2, jobs_pb2
from orchestrator.errors import (
    ImagegenError,
    InvalidRequestError,
    NotEnoughCreditsError,
    QueueFullError,
    Reason,
    TooManyJobsError,
    Violation,
)
from tests.contract.rest_stack import NOW, RESULT, TEXT_ONLY, Stack, post

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOOK = "https://receiver.example/hook"


@pytest.mark.parametrize("path", [RESULT, NOW])
@pytest.mark.parametrize("header", ["key-1", '"key-1"'])
async def test_the_clients_key_names_the_job(stack: Stack, path: str, header: str) -> None:
    answer = await stack.client.post(path, json=TEXT_ONLY, headers={"Idempotency-Key": header})
    assert answer.status_code == 200
    assert stack.script.requests[0].request_id == "key-1"
    assert stack.script.metadata["x-request-id"] == answer.headers["X-Request-ID"] != "key-1"


async def test_without_a_key_each_request_is_another(stack: Stack) -> None:
    for _ in range(2):
        assert (await post(stack, NOW)).status_code == 200
    first, second = (uuid.UUID(request.request_id) for request in stack.script.requests)
    assert first != second


@pytest.mark.parametrize("header", ["", "a b", "x" * 129, '"', '"a"b', "a,b"])
async def test_a_key_of_another_form_is_refused(stack: Stack, header: str) -> None:
    answer = await stack.client.post(RESULT, json=TEXT_ONLY, headers={"Idempotency-Key": header})
    assert (answer.status_code, answer.json()) == (
        400,
        {"message": "Idempotency-Key must have 1 to 128 characters of A-Z a-z 0-9 . _ : -", "code": "BAD_REQUEST"},
    )
    assert stack.script.calls == []


async def test_a_key_with_another_body_is_refused(stack: Stack) -> None:
    stack.script.refusal = InvalidRequestError(Violation("request.request_id", "was already used for another request"))
    answer = await post(stack)
    assert (answer.status_code, answer.json()) == (
        400,
        {"message": "Idempotency-Key was already used for another request", "code": "BAD_REQUEST"},
    )


async def test_a_webhook_goes_along_with_the_request_as_it_was_sent(stack: Stack) -> None:
    body = {"webhooks": {"complete": HOOK}, **TEXT_ONLY, "unknown": ["ü", 1.5, None]}
    written = json.dumps(body, indent=4)  # and with escapes
    answer = await stack.client.post(NOW, content=written, headers={"content-type": "application/json"})
    assert answer.status_code == 200
    (webhook,) = stack.script.webhooks
    assert webhook is not None
    assert (webhook.url, json.loads(webhook.data)) == (HOOK, body)
    assert webhook.data == json.dumps(body, ensure_ascii=False, separators=(",", ":"))


async def test_without_a_webhook_the_request_goes_along_for_the_accounts_own(stack: Stack) -> None:
    await post(stack, NOW, webhooks={"complete": None})
    await post(stack, NOW)
    for webhook in stack.script.webhooks:
        assert webhook is not None
        assert not webhook.HasField("url")
        assert json.loads(webhook.data)["width"] == TEXT_ONLY["width"]


async def test_a_webhook_gets_the_events_that_it_asks_for(stack: Stack) -> None:
    for events, asked in (
        (None, []),
        (["Failed"], [jobs_pb2.WEBHOOK_EVENT_FAILED]),
        ("complete, failed", [jobs_pb2.WEBHOOK_EVENT_COMPLETE, jobs_pb2.WEBHOOK_EVENT_FAILED]),
    ):
        assert (await post(stack, NOW, webhooks={"complete": HOOK, "events": events})).status_code == 200
        webhook = stack.script.webhooks[-1]
        assert webhook is not None
        assert list(webhook.events) == asked
    answer = await post(stack, NOW, webhooks={"complete": HOOK, "events": ["started"]})
    assert answer.json()["message"] == "webhooks.events must be among complete, failed, not 'started'"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://receiver.example/", "webhooks.complete must be an http or https URL with a host"),
        ("http://10.0.0.1/", "webhooks.complete refers to an address that is not public"),
        (f"https://{'x' * 2048}/", "webhooks.complete has more than 2048 characters"),
    ],
)
async def test_a_webhook_that_cannot_be_sent_is_refused(stack: Stack, url: str, said: str) -> None:
    answer = await post(stack, NOW, webhooks={"complete": url})
    assert (answer.status_code, answer.json()) == (400, {"message": said, "code": "BAD_REQUEST"})


async def test_storages_go_through(stack: Stack) -> None:
    body = {"url": "storage://mine/a.png", "target": "storage://mine/b.png", "width": 100}
    assert (await stack.client.post(NOW, json=body)).status_code == 200
    (request,) = stack.script.requests
    assert (request.edit.image.url, request.output.target) == ("storage://mine/a.png", "storage://mine/b.png")


async def test_a_storage_that_the_account_lacks_is_named(stack: Stack) -> None:
    stack.script.refusal = InvalidRequestError(
        Violation("request.edit.image.url", "names mine; it has yours", Reason.STORAGE_UNKNOWN),
        Violation("request.output.target", "names mine; it has yours", Reason.STORAGE_UNKNOWN),
    )
    answer = await stack.client.post(NOW, json={"url": "storage://mine/a.png", "target": "storage://mine/b.png"})
    assert answer.status_code == 400
    assert answer.json()["message"] == (
        "Invalid source storage. url names mine; it has yours; Invalid target storage. target names mine; it has yours"
    )


@pytest.mark.parametrize(
    ("refusal", "status", "body", "retry_after"),
    [
        (
            TooManyJobsError(5, 7),
            429,
            {
                "message": "Image cannot be processed right now. "
                "Your rate limit is 5 and you are currently processing 7 images.",
                "code": "TOO_MANY_REQUESTS",
            },
            "1",
        ),
        (
            QueueFullError("100 jobs are already waiting", retry_after=30),
            429,
            {
                "message": "Image cannot be processed right now. 100 jobs are already waiting",
                "code": "TOO_MANY_REQUESTS",
            },
            "30",
        ),
        (
            NotEnoughCreditsError("a picture costs 1 credits, and the account has 0"),
            400,
            {
                "message": "You dont have enough credits to perform those actions: a picture costs 1 credits, and the "
                "account has 0",
                "code": "NOT_ENOUGH_CREDITS",
            },
            None,
        ),
    ],
)
async def test_limits_of_an_account(
    stack: Stack, refusal: ImagegenError, status: int, body: dict[str, str], retry_after: str | None
) -> None:
    stack.script.refusal = refusal
    answer = await post(stack, NOW)
    assert (answer.status_code, answer.json(), answer.headers.get("Retry-After")) == (status, body, retry_after)


async def test_whose_key_it_is(stack: Stack) -> None:
    stack.script.account = accounts_pb2.Account(
        name="alice",
        email="alice@example.com",
        credits=12.5,
        max_active_jobs=3,
        active_jobs=1,
        key_prefix="ig_abcd",
        webhook_secret="whsec_eHg=",  # noqa: S106  # of this test
    )
    answer = await stack.client.get("/rest_api/me")
    assert answer.status_code == 200
    assert answer.json() == {
        "username": "alice",
        "email": "alice@example.com",
        "credits": 12.5,
        "api_key": "ig_abcd…",
        "language": "en",
        "webhooks": None,
        "billing_address": None,
        "webhook_secret": None,
        "active_jobs": 1,
        "max_active_jobs": 3,
        "requests_per_minute": None,
        "marks": {"xmp": False, "c2pa": False, "invisible": False},
        "presets": [],
    }


async def test_the_webhook_secret_is_answered_to_those_who_ask_for_it(stack: Stack) -> None:
    stack.script.account = accounts_pb2.Account(webhook_secret="whsec_eHg=")  # noqa: S106  # of this test
    for query, secret in {"include=webhook_secret": "whsec_eHg=", "include=all": None, "include=%00": None}.items():
        answer = await stack.client.get(f"/rest_api/me?{query}")
        assert (answer.status_code, answer.json()["webhook_secret"]) == (200, secret)


async def test_nobody_asks_whose_key_it_is(stack: Stack) -> None:
    none = await stack.anonymous.get("/rest_api/me")
    assert (none.status_code, none.json()) == (403, {"message": "No x-api-key header is provided"})
    wrong = await stack.client.get("/rest_api/me", headers={"X-API-KEY": "guess"})
    assert (wrong.status_code, wrong.json()) == (404, {"message": "No user found for provided token"})


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_picture_that_the_client_has_is_not_sent_again(stack: Stack, method: str) -> None:
    chunks = [b"abc", b"def"]
    stack.script.files["name.png"] = ("image/png", chunks)
    first = await stack.anonymous.request(method, "/results/name.png")
    etag = f'"{hashlib.sha256(b"abcdef").hexdigest()}"'
    assert (first.status_code, first.headers["ETag"]) == (200, etag)
    for known, status in ((etag, 304), (f'"other", W/{etag}', 304), ("*", 304), ('"other"', 200)):
        again = await stack.anonymous.request(method, "/results/name.png", headers={"If-None-Match": known})
        assert (again.status_code, again.headers["ETag"]) == (status, etag)
        assert again.content == (b"abcdef" if (status, method) == (200, "GET") else b"")
