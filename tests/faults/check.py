"""What must be true when all is up again and every job has ended."""

import asyncio
import hashlib
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import psycopg

from imagegen.v1 import jobs_pb2
from local import postgres
from local.settings import Settings
from tests.faults.clients import OTHER_SIDE, SIDE, Asked, Clients
from tests.integration.jobs.receiver import Receiver

DELIVER_SECONDS = 90.0
"""For the last webhooks: a try that a crash broke off is made again after 30 s."""


class Findings:
    """What is wrong, in words, and what is worth counting."""

    def __init__(self) -> None:
        self.wrong: list[str] = []
        self.outcomes: Counter[str] = Counter()
        self.attempts: Counter[int] = Counter()

    def expect(self, is_right: bool, words: str) -> None:
        """Note what is wrong."""
        if not is_right:
            self.wrong.append(words)


async def check(settings: Settings, clients: Clients, asked: Sequence[Asked], receiver: Receiver) -> Findings:
    """Look at every job as clients see it, at the database, at the files, at the webhooks that came."""
    findings = Findings()
    succeeded = set()
    for each in asked:
        findings.expect(len(each.job_ids) == 1, f"{each.key}: answered by {len(each.job_ids)} jobs")
        if await _check_job(findings, clients, each):
            succeeded.add(each.job_id)
    await asyncio.to_thread(_check_database, findings, settings, {each.job_id for each in asked}, succeeded)
    await _check_webhooks(findings, settings, [each for each in asked if each.hook], receiver)
    return findings


async def _check_job(findings: Findings, clients: Clients, asked: Asked) -> bool:
    """Whether it has a picture, and a whole one."""
    job = await clients.get(asked.job_id)
    findings.outcomes[jobs_pb2.JobState.Name(job.state).removeprefix("JOB_STATE_").lower()] += 1
    findings.attempts[job.attempts] += 1
    if job.state == jobs_pb2.JOB_STATE_FAILED:
        findings.expect(bool(job.error.message and job.error.reason), f"{asked.key}: failed without a reason")
        return False
    if job.state != jobs_pb2.JOB_STATE_SUCCEEDED:
        findings.expect(False, f"{asked.key}: lost, it is {jobs_pb2.JobState.Name(job.state)}")  # so it is
        return False
    data, told = await clients.read(job.artifact.uri.rpartition("/")[2])
    pixels = await asyncio.to_thread(cv2.imdecode, np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    is_whole = pixels is not None and pixels.shape == (OTHER_SIDE, SIDE, 3) and hashlib.sha256(data).digest() == told
    findings.expect(is_whole and len(data) == job.artifact.file_size, f"{asked.key}: its picture is broken")
    return True


def _check_database(findings: Findings, settings: Settings, job_ids: set[str], succeeded: set[str]) -> None:
    with psycopg.connect(postgres.read_url(settings)) as connection:

        def column(query: str) -> list[str]:
            return [value for (value,) in connection.execute(query).fetchall()]

        used = column("SELECT job_id FROM imagegen.usage")
        findings.expect(len(used) == len(set(used)), "a job is twice in the account's usage")
        findings.expect(set(used) == succeeded, f"usage and pictures differ by {set(used) ^ succeeded}")
        known = set(column("SELECT id FROM imagegen.jobs"))
        findings.expect(known == job_ids, f"the database has other jobs: {known ^ job_ids}")
        left = column("SELECT id FROM imagegen.jobs WHERE state IN ('queued', 'running')")
        findings.expect(not left, f"the queue still holds {left}")
        noted = set(column("SELECT name FROM imagegen.results"))
    files = {path.name for path in Path(settings.state_dir / "results").iterdir()}
    findings.expect(files <= noted, f"files that nobody knows: {files - noted}")


async def _check_webhooks(findings: Findings, settings: Settings, asked: list[Asked], receiver: Receiver) -> None:
    wanted = {each.job_id for each in asked}
    end = time.monotonic() + DELIVER_SECONDS
    while (pending := await asyncio.to_thread(_pending, settings)) and time.monotonic() < end:  # noqa: ASYNC110 - of a database
        await asyncio.sleep(0.2)
    findings.expect(not pending, f"webhooks that were not delivered: {pending}")
    findings.expect(wanted <= {body["job"] for body in receiver.bodies}, "a webhook was lost")
    secret = await asyncio.to_thread(_secret, settings)
    for index in range(len(receiver.ids)):
        receiver.verify(index, secret)


def _pending(settings: Settings) -> list[str]:
    with psycopg.connect(postgres.read_url(settings)) as connection:
        rows = connection.execute("SELECT job_id FROM imagegen.deliveries WHERE state <> 'delivered'").fetchall()
    return [job_id for (job_id,) in rows]


def _secret(settings: Settings) -> bytes:
    with psycopg.connect(postgres.read_url(settings)) as connection:
        row = connection.execute("SELECT webhook_secret FROM imagegen.accounts WHERE name = 'local'").fetchone()
    assert row is not None
    return bytes(row[0])
