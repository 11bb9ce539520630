"""Webhooks: sent when a job ends, signed, tried again, and never lost."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from imagegen.v1 import jobs_pb2
from orchestrator.accounts import admin
from orchestrator.accounts.account import Account
from orchestrator.accounts.webhook_secrets import encode
from orchestrator.config import ANY_PORT
from orchestrator.database.listen import Listener
from orchestrator.errors import EngineFaultError, InvalidRequestError, NotFoundError
from orchestrator.jobs.records import JobRecord, WebhookState
from orchestrator.web.posting import Poster
from orchestrator.webhooks import message as webhook_messages
from orchestrator.webhooks.deliveries import Deliveries
from orchestrator.webhooks.delivery import MAX_PER_ADDRESS, POST_SECONDS, Deliverer
from tests.database import new_url
from tests.integration.jobs.job_harness import ANONYMOUS, JobHarness, running
from tests.integration.jobs.receiver import Receiver, receiving
from tests.integration.web import Web


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """On loopback."""
    async with receiving() as opened:
        yield opened


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[JobHarness]:
    """May send to loopback."""
    async with running(new_url(), tmp_path, webhook_private=True) as opened:
        yield opened


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries follow each other at once."""
    monkeypatch.setattr(webhook_messages, "WAITS", (0.01,) * 9)


async def until(harness: JobHarness, job: JobRecord, state: str) -> WebhookState:
    """The webhook of a job once it is there."""
    async with asyncio.timeout(20):
        while (now := (await harness.get(job)).webhook) is None or now.state != state:  # noqa: ASYNC110  # no event
            await asyncio.sleep(0.02)
    return now


async def secret(harness: JobHarness) -> bytes:
    (row,) = await harness.database.run("SELECT webhook_secret FROM imagegen.accounts WHERE id = 1")
    return bytes(row["webhook_secret"])


async def test_a_webhook_reports_the_picture(harness: JobHarness, receiver: Receiver) -> None:
    job = await harness.submit(webhook=receiver.url, data='{"url": "https://a.example/ü.png"}')
    assert (await harness.get(job)).webhook == WebhookState()
    sent = await until(harness, job, "delivered")
    done = await harness.get(job)
    assert done.artifact is not None
    assert receiver.bodies == [
        {
            "job": job.id,
            "data": {"url": "https://a.example/ü.png"},
            "result_url": done.artifact.uri,
            "results": None,
        }
    ]
    receiver.verify(0, await secret(harness))
    assert receiver.heads[0]["content-type"] == "application/json"
    assert (sent.attempts, sent.last_status, sent.last_error, sent.next_at) == (1, 204, None, None)
    assert sent.delivered_at is not None


async def test_events_that_nobody_asked_for_are_not_sent(harness: JobHarness, receiver: Receiver) -> None:
    """By default a picture alone is: the documents know no other event."""
    harness.world.networks.error = EngineFaultError("a secret")
    silent = await harness.submit(webhook=receiver.url, events=())
    only_failed = await harness.submit(webhook=receiver.url, events=(jobs_pb2.WEBHOOK_EVENT_FAILED,))
    await until(harness, only_failed, "delivered")
    while (await harness.get(silent)).error is None:  # noqa: ASYNC110  # no event
        await asyncio.sleep(0.05)
    assert (await harness.get(silent)).webhook is None
    harness.world.networks.error = None
    await harness.watch(await harness.submit(webhook=receiver.url, events=(jobs_pb2.WEBHOOK_EVENT_FAILED,)))
    pictured = await harness.submit(webhook=receiver.url, events=())
    await until(harness, pictured, "delivered")
    assert [body["job"] for body in receiver.bodies] == [only_failed.id, pictured.id]


async def test_the_accounts_own_webhook_is_called_where_the_request_names_none(
    harness: JobHarness, receiver: Receiver
) -> None:
    await admin.change(harness.database, "anonymous", {"webhook_url": receiver.url, "webhook_events": ["failed"]})
    await harness.watch(await harness.submit(data='{"a": 1}'))  # a picture, which it is not called for
    await admin.change(harness.database, "anonymous", {"webhook_events": ["complete", "failed"]})
    job = await harness.submit(data='{"a": 1}')
    await until(harness, job, "delivered")
    own = await harness.submit(webhook=f"{receiver.url}/own")
    await until(harness, own, "delivered")
    assert [(body["job"], body["data"]) for body in receiver.bodies] == [(job.id, {"a": 1}), (own.id, None)]
    await admin.change(harness.database, "anonymous", {"webhook_url": None})
    done = await harness.submit(data='{"a": 1}')
    await harness.watch(done)
    assert (await harness.get(done)).webhook is None


async def test_a_job_without_a_picture_is_reported_too(harness: JobHarness, receiver: Receiver) -> None:
    harness.world.networks.error = EngineFaultError("a secret")
    job = await harness.submit(webhook=receiver.url, request_id="r1")
    await until(harness, job, "delivered")
    (body,) = receiver.bodies
    assert (body["status"], body["result_url"], body["data"]) == ("failed", None, None)
    assert body["message"] == "internal error; request id name"


async def test_a_cancelled_job_is_reported_too(harness: JobHarness, receiver: Receiver) -> None:
    harness.is_ready = False
    job = await harness.submit(webhook=receiver.url)
    await harness.system.jobs.cancel(ANONYMOUS, job.id)
    await until(harness, job, "delivered")
    assert receiver.bodies[0]["message"] == "the job was cancelled"


@pytest.mark.usefixtures("soon")
async def test_it_is_tried_until_it_is_taken(harness: JobHarness, receiver: Receiver) -> None:
    receiver.answers = [
        "500 Oops\r\n",
        "302 Found\r\nlocation: http://127.0.0.1:1/\r\n",
        "429 Slow\r\nretry-after: 0\r\n",
    ]
    job = await harness.submit(webhook=receiver.url)
    sent = await until(harness, job, "delivered")
    assert (sent.attempts, len(set(receiver.ids)), len(receiver.ids)) == (4, 1, 4)
    receiver.verify(3, await secret(harness))


@pytest.mark.usefixtures("soon")
async def test_after_the_last_try_it_is_given_up(harness: JobHarness, receiver: Receiver) -> None:
    receiver.answers = ["500 Oops\r\n"] * 20
    job = await harness.submit(webhook=receiver.url)
    failed = await until(harness, job, "failed")
    assert (failed.attempts, failed.last_status) == (10, 500)
    assert failed.last_error == "the receiver answered with status 500"
    assert len(receiver.ids) == 10


async def test_a_receiver_that_is_gone_is_not_asked_again(harness: JobHarness, receiver: Receiver) -> None:
    receiver.answers = ["410 Gone\r\n"]
    job = await harness.submit(webhook=receiver.url)
    assert (await until(harness, job, "failed")).attempts == 1


async def test_the_next_try_can_be_seen(harness: JobHarness, receiver: Receiver) -> None:
    receiver.answers = ["503 Busy\r\nretry-after: 900\r\n"]
    job = await harness.submit(webhook=receiver.url)
    async with asyncio.timeout(20):
        while (seen := (await harness.get(job)).webhook) is None or seen.last_status is None:  # noqa: ASYNC110  # no event
            await asyncio.sleep(0.02)
    assert (seen.state, seen.attempts, seen.last_status) == ("pending", 1, 503)
    (row,) = await harness.database.run("SELECT extract(epoch FROM next_at - now()) AS wait FROM imagegen.deliveries")
    assert 800 < row["wait"] <= 900


async def test_who_dies_in_the_middle_loses_none(tmp_path: Path, receiver: Receiver) -> None:
    """The first hangs in the receiver; a second process sends it when the lease is over."""
    url = new_url()
    receiver.answers = [None]
    async with running(url, tmp_path, webhook_private=True) as first:
        job = await first.submit(webhook=receiver.url)
        await receiver.wait(1)
        await first.deliverer.close()  # as a process that ends: nothing is settled
        await first.database.run("UPDATE imagegen.deliveries SET next_at = now()")  # the lease is over
        async with running(url, tmp_path, webhook_private=True, worker_slots=0) as second:
            sent = await until(second, job, "delivered")
    assert sent.attempts == 2
    assert len(set(receiver.ids)) == 1


async def test_two_that_deliver_send_each_once(harness: JobHarness, receiver: Receiver) -> None:
    listener = Listener(harness.database.url)
    poster = Poster(seconds=5, max_connections=8, allow_private=True, ports=ANY_PORT)
    other = Deliverer(harness.database, listener, poster, lambda _: None, lambda error, _: str(error))
    await listener.start()
    await other.start()
    try:
        jobs = [await harness.submit(webhook=receiver.url) for _ in range(20)]
        for job in jobs:
            await until(harness, job, "delivered")
    finally:
        await other.close()
        await listener.close()
    assert sorted(receiver.ids) == sorted(f"msg_{job.id}" for job in jobs)


@pytest.mark.promise(
    "receivers that hang, or answer without end",
    "10 s, a share of the tries for each host, and nothing but the head is read",
    "orchestrator/webhooks/delivery.py",
)
async def test_a_receiver_that_hangs_holds_up_no_other(harness: JobHarness, receiver: Receiver) -> None:
    async with receiving("127.0.0.2") as slow:
        slow.answers = [None] * 20
        hanging = [await harness.submit(webhook=slow.url) for _ in range(20)]
        quick = [await harness.submit(webhook=receiver.url) for _ in range(5)]
        for job in quick:
            await until(harness, job, "delivered")
        assert len(slow.ids) < 8  # not all that may be under way are its
        assert (await harness.get(hanging[0])).webhook is not None


async def test_a_huge_answer_is_not_read(harness: JobHarness, web: Web) -> None:
    async def huge(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 10000000000\r\n\r\n")
        while not writer.is_closing():
            writer.write(bytes(65536))
            await writer.drain()

    job = await harness.submit(webhook=web.put("/huge", huge))
    assert (await until(harness, job, "delivered")).last_status == 200
    async with asyncio.timeout(10):
        await web.left["/huge"].wait()


@pytest.mark.promise(
    "webhooks into this network",
    "as for pictures, at every try; redirects are not followed",
    "orchestrator/web/addresses.py",
)
async def test_private_addresses_are_refused(tmp_path: Path, receiver: Receiver) -> None:
    """At once where the URL shows it, and when it is sent where a name hides it."""
    async with running(new_url(), tmp_path, webhook_ports=ANY_PORT) as harness:
        with pytest.raises(InvalidRequestError, match="not public"):
            webhook_messages.check_webhook(receiver.url, None, allow_private=False, ports=ANY_PORT)
        hidden = receiver.url.replace("127.0.0.1", "localhost")
        webhook_messages.check_webhook(hidden, None, allow_private=False, ports=ANY_PORT)
        job = await harness.submit(webhook=hidden)
        async with asyncio.timeout(20):
            while (seen := (await harness.get(job)).webhook) is None or seen.last_error is None:  # noqa: ASYNC110  # no event
                await asyncio.sleep(0.02)
        assert (seen.state, seen.last_error, seen.last_status) == ("pending", "the address is not public", None)
        assert receiver.ids == []


async def test_a_broken_row_holds_up_no_other(harness: JobHarness, receiver: Receiver) -> None:
    harness.is_ready = False
    broken, job = await harness.submit(webhook=receiver.url), await harness.submit(webhook=receiver.url)
    await harness.database.run("UPDATE imagegen.jobs SET webhook_url = 'no url' WHERE id = %(id)s", {"id": broken.id})
    harness.is_ready = True
    await until(harness, job, "delivered")
    async with asyncio.timeout(20):
        while (seen := (await harness.get(broken)).webhook) is None or seen.last_error is None:  # noqa: ASYNC110  # no event
            await asyncio.sleep(0.02)
    assert seen.last_error == "the URL must be an http or https URL with a host"


async def test_an_account_with_many_holds_up_no_other(harness: JobHarness) -> None:
    """Its receiver never answers, and every spelling of its host is another name for one address."""
    await harness.database.run("INSERT INTO imagegen.accounts (name) VALUES ('ada')")
    async with receiving("127.0.0.1") as slow, receiving("127.0.0.2") as quick:
        slow.answers = [None] * 200
        port = slow.url.rpartition(":")[2].partition("/")[0]
        harness.is_ready = False
        for number in range(60):
            host = "".join(c.upper() if number >> i & 1 else c for i, c in enumerate("localhost"))
            job = await harness.submit(webhook=f"http://{host}:{port}/")
            await harness.system.jobs.cancel(ANONYMOUS, job.id)
        ada = Account(id=2, name="ada")
        mine = await harness.submit(webhook=quick.url, account=ada)
        await harness.system.jobs.cancel(ada, mine.id)
        async with asyncio.timeout(POST_SECONDS / 2):  # less than the first of the others takes
            await quick.wait(1)
        assert len(slow.ids) <= MAX_PER_ADDRESS


async def test_one_slow_receiver_does_not_hold_up_the_accounts_others(harness: JobHarness) -> None:
    harness.is_ready = False
    async with receiving() as slow, receiving("127.0.0.2") as quick:
        slow.answers = [None] * 200
        port = slow.url.rpartition(":")[2].partition("/")[0]
        for host in ("127.0.0.1", "localhost", "LOCALHOST") * 10:  # names of one address
            job = await harness.submit(webhook=f"http://{host}:{port}/")
            await harness.system.jobs.cancel(ANONYMOUS, job.id)
        job = await harness.submit(webhook=quick.url)
        await harness.system.jobs.cancel(ANONYMOUS, job.id)
        await until(harness, job, "delivered")


async def test_a_secret_that_was_rotated_signs_for_a_while(harness: JobHarness, receiver: Receiver) -> None:
    old = await secret(harness)
    new = await admin.webhook_secret(harness.database, "anonymous", rotate=True, overlap_seconds=3600)
    await until(harness, await harness.submit(webhook=receiver.url), "delivered")
    receiver.verify(0, old)
    receiver.verify(0, new)
    await harness.database.run("UPDATE imagegen.accounts SET webhook_secret_before_until = now()")
    await until(harness, await harness.submit(webhook=receiver.url), "delivered")
    receiver.verify(1, new)
    assert " " not in receiver.heads[1]["webhook-signature"]


@pytest.mark.usefixtures("soon")
async def test_a_delivery_is_listed_and_sent_again(harness: JobHarness, receiver: Receiver) -> None:
    deliveries = Deliveries(harness.database)
    receiver.answers = ["500 Broken\r\n"] * 10
    job = await harness.submit(webhook=receiver.url)
    await until(harness, job, "failed")
    await harness.watch(await harness.submit())  # without one
    (failed,) = await deliveries.list_deliveries(1, 10)
    assert (failed.id, failed.job_id, failed.state.attempts) == (f"msg_{job.id}", job.id, 10)
    assert await deliveries.list_deliveries(1, 10, state="delivered") == []
    again = await deliveries.resend(1, failed.id)
    assert again.state.state == "pending"
    sent = await until(harness, job, "delivered")
    assert (sent.attempts, len(set(receiver.ids))) == (11, 1)
    assert await deliveries.list_deliveries(1, 10, after=(failed.created, failed.id)) == []
    for account, name in ((2, failed.id), (1, "msg_none")):
        with pytest.raises(NotFoundError):
            await deliveries.resend(account, name)


def test_the_pages_receiver_knows_what_is_ours() -> None:
    """The Python of docs/webhooks.md, as it is there."""
    page = (Path(__file__).parents[3] / "docs/webhooks.md").read_text("utf-8")
    code = page.partition("```python\n")[2].partition("```")[0]
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102  # our own page
    secret, now = bytes(32), int(time.time())
    headers = dict(webhook_messages.sign([secret], "msg_1", now, b"{}"))
    assert names["is_ours"](encode(secret), headers, b"{}")
    assert not names["is_ours"](encode(b"another"), headers, b"{}")
    assert not names["is_ours"](encode(secret), headers, b"{ }")
    old = dict(webhook_messages.sign([secret], "msg_1", now - 400, b"{}"))
    assert not names["is_ours"](encode(secret), old, b"{}")
