"""What must be true when all is up again and every job has ended."""

import asyncio
import hashlib
import time
from collections import Counter
from collections.abc import Sequence

import cv2
import grpc
import numpy as np
import psycopg

from imagegen.v1 import jobs_pb2
from local import postgres
from tests.faults.clients import OTHER_SIDE, SIDE, Asked, Clients, wait_for_all
from tests.faults.programs import Programs
from tests.integration.jobs.receiver import Receiver

DELIVER_SECONDS = 90.0
"""For the last webhooks: an attempt that a crash broke off is made again after 30 s."""
SLOT_SECONDS = 120.0
"""For another of as many jobs as there are slots to end, when all is over."""
SLOTS = 8

CATEGORIES = ("lost", "doubled", "wrongly charged", "wrongly failed", "stuck", "broken")


class Findings:
    """What is wrong, in words by category, and what is worth counting."""

    def __init__(self) -> None:
        self.wrong: dict[str, list[str]] = {category: [] for category in CATEGORIES}
        self.outcomes: Counter[str] = Counter()
        self.attempts: Counter[int] = Counter()
        self.webhooks_due = 0

    @property
    def is_right(self) -> bool:
        """Whether nothing is wrong."""
        return not any(self.wrong.values())

    def expect(self, category: str, is_right: bool, words: str) -> None:
        """Note what is wrong."""
        if not is_right:
            self.wrong[category].append(words)


async def check(
    programs: Programs, clients: Clients, asked: Sequence[Asked], receiver: Receiver, credits_before: int
) -> Findings:
    """Check every job as clients see it, at the database, at the files, at the webhooks that came, at all slots."""
    findings = Findings()
    succeeded = set()
    for each in asked:
        findings.expect("lost", bool(each.job_ids), f"{each.key}: never acknowledged")
        findings.expect("doubled", len(each.job_ids) <= 1, f"{each.key}: answered by {len(each.job_ids)} jobs")
        if each.job_ids and await _check_job(findings, clients, each):
            succeeded.add(each.job_id)
    known = {each.job_id for each in asked if each.job_ids}
    await asyncio.to_thread(_check_database, findings, programs, known, succeeded, credits_before)
    await _check_webhooks(findings, programs, [each for each in asked if each.hook and each.job_ids], receiver)
    await _check_slots(findings, clients)
    return findings


async def _check_job(findings: Findings, clients: Clients, asked: Asked) -> bool:
    """Whether it has a picture, and a whole one."""
    try:
        job = await clients.get(asked.job_id)
    except grpc.aio.AioRpcError as error:
        findings.expect("lost", False, f"{asked.key}: {error.details()}")
        return False
    state = jobs_pb2.JobState.Name(job.state).removeprefix("JOB_STATE_").lower()
    findings.outcomes[state] += 1
    findings.attempts[job.attempts] += 1
    if job.state in {jobs_pb2.JOB_STATE_QUEUED, jobs_pb2.JOB_STATE_RUNNING}:
        findings.expect("stuck", False, f"{asked.key}: {state}")
        return False
    if job.state != jobs_pb2.JOB_STATE_SUCCEEDED:
        why = f"{job.error.reason}: {job.error.message}"
        findings.expect("wrongly failed", False, f"{asked.key}: {state}, {why}")
        return False
    data, digest = await clients.read(job.artifact.uri.rpartition("/")[2])
    pixels = await asyncio.to_thread(cv2.imdecode, np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    is_whole = pixels is not None and pixels.shape == (OTHER_SIDE, SIDE, 3) and hashlib.sha256(data).digest() == digest
    findings.expect("broken", is_whole and len(data) == job.artifact.file_size, f"{asked.key}: its picture is broken")
    return True


def _check_database(
    findings: Findings, programs: Programs, job_ids: set[str], succeeded: set[str], credits_before: int
) -> None:
    with psycopg.connect(postgres.read_url(programs.settings)) as connection:

        def column(query: str) -> list[str]:
            return [value for (value,) in connection.execute(query).fetchall()]

        used = column("SELECT job_id FROM imagegen.usage")
        findings.expect("doubled", len(used) == len(set(used)), "a job is twice in the account's usage")
        findings.expect(
            "wrongly charged", set(used) == succeeded, f"usage and pictures differ: {set(used) ^ succeeded}"
        )
        (left,) = column("SELECT credits::text FROM imagegen.accounts WHERE name = 'local'")
        ended = int(column("SELECT count(*)::text FROM imagegen.jobs WHERE state IN ('queued', 'running')")[0]) == 0
        is_right = not ended or float(left) == credits_before - len(succeeded)
        findings.expect("wrongly charged", is_right, f"{left} credits are left after {len(succeeded)} pictures")
        known = set(column("SELECT id FROM imagegen.jobs"))
        findings.expect("lost", job_ids <= known, f"jobs that the database does not have: {job_ids - known}")
        findings.expect("doubled", known <= job_ids, f"jobs that nobody asked for: {known - job_ids}")
        noted = set(column("SELECT name FROM imagegen.results"))
    files = {path.name for path in programs.results.iterdir() if path.is_file()}
    findings.expect("broken", files <= noted, f"files that nobody knows: {files - noted}")


async def _check_webhooks(findings: Findings, programs: Programs, asked: list[Asked], receiver: Receiver) -> None:
    wanted = {each.job_id for each in asked}
    findings.webhooks_due = len(wanted)
    end = time.monotonic() + DELIVER_SECONDS
    while (pending := await asyncio.to_thread(_pending, programs)) and time.monotonic() < end:  # noqa: ASYNC110 - of a database
        await asyncio.sleep(0.2)
    findings.expect("lost", not pending, f"webhooks that were not delivered: {pending}")
    findings.expect("lost", wanted <= {body["job"] for body in receiver.bodies}, "a webhook was lost")
    secret = await asyncio.to_thread(_secret, programs)
    for index in range(len(receiver.ids)):
        receiver.verify(index, secret)


async def _check_slots(findings: Findings, clients: Clients) -> None:
    """As many jobs as there are slots, at once, more than once: a slot that is lost shows."""
    asked = [Asked(f"slot-{number}", "grpc", "", 10) for number in range(3 * SLOTS)]
    lives = [asyncio.create_task(clients.live(each)) for each in asked]
    pending = await wait_for_all(lives, SLOT_SECONDS)
    findings.expect("stuck", not pending, f"{len(pending)} of {len(asked)} jobs after all faults did not end")
    for life in pending:
        life.cancel()


def _pending(programs: Programs) -> list[str]:
    with psycopg.connect(postgres.read_url(programs.settings)) as connection:
        rows = connection.execute("SELECT job_id FROM imagegen.deliveries WHERE state <> 'delivered'").fetchall()
    return [job_id for (job_id,) in rows]


def _secret(programs: Programs) -> bytes:
    with psycopg.connect(postgres.read_url(programs.settings)) as connection:
        row = connection.execute("SELECT webhook_secret FROM imagegen.accounts WHERE name = 'local'").fetchone()
    assert row is not None
    return bytes(row[0])
