"""`python -m benchmarks.job_store URL`: what a durable job costs Python and PostgreSQL, on an empty migrated database.

Walks jobs through their whole life on the real store, without a worker's loop around it: submit, claim, two batches of
events (one with a preview of 6 KB), renew the lease, note the picture, finish, and one GetJob by a client. Prints
milliseconds of wall time for each, then for a whole job the transactions and the CPU
time of both sides; PostgreSQL's is that of its server processes on this machine.
"""

import argparse
import asyncio
import hashlib
import time
from collections import defaultdict
from collections.abc import Awaitable
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

from orchestrator.database.pool import Database
from orchestrator.diffusion.stages import Stage, StageTime
from orchestrator.generation.events import Artifact, Preview, Progress, Started
from orchestrator.generation.job import new_job_id
from orchestrator.jobs.attempts import Attempts
from orchestrator.jobs.records import JobRequest, NewJob
from orchestrator.jobs.scheduling import QueueStatsCache
from orchestrator.jobs.store import JobStore
from orchestrator.models.source import ModelDigest
from orchestrator.params import ImageFormat, JobOptions, Limits, RequestParams, SamplerName, TextToImage

T = TypeVar("T")

TICKS = 100
"""Clock ticks of /proc in a second."""

ARTIFACT = Artifact(
    data=None,
    uri=None,
    file_size=100_000,
    format=ImageFormat.PNG,
    quality=None,
    width=512,
    height=512,
    seed=7,
    family="starter",
    sampler=SamplerName.DDIM,
    steps=8,
    models=tuple(ModelDigest(f"model_{number}", "0" * 64, "openvino bf16") for number in range(3)),
    timings=tuple(StageTime(stage, 0.1, 1) for stage in Stage),
)


class Walk:
    """Jobs through their lives, and how long each step took."""

    def __init__(self, store: JobStore, attempts: Attempts, database: Database, account: int) -> None:
        self._store, self._attempts, self._database = store, attempts, database
        self._account = account
        self.seconds: dict[str, float] = defaultdict(float)

    async def job(self, number: int) -> None:
        """One job from its submission to its end."""
        store, attempts = self._store, self._attempts
        record = await self._timed("submit", store.submit(self._new_job(number)))
        attempt = await self._timed("claim", attempts.claim(idle=False, alone=False))
        if attempt is None:
            raise RuntimeError("nothing to claim")
        job_id = attempt.job_id
        await self._timed("events", attempts.save_events(attempt, [(1, Started(7, 64, 64, 0)), (2, _progress(1))]))
        await self._timed("events", attempts.save_events(attempt, [(3, Preview(b"j" * 6000, 4)), (4, _progress(5))]))
        await self._timed("renew", attempts.renew({job_id: attempt.fence}, alone=False))
        picture = f"{job_id}.png"
        await self._timed("note", self._note(picture))
        if not await self._timed("finish", attempts.finish(attempt, ARTIFACT, picture, [(5, _progress(8))])):
            raise RuntimeError(f"job {job_id} was taken away")
        await self._timed("get", store.get(record.id, self._account))

    async def _timed(self, name: str, work: Awaitable[T]) -> T:
        started = time.perf_counter()
        try:
            return await work
        finally:
            self.seconds[name] += time.perf_counter() - started

    async def _note(self, name: str) -> None:
        await self._database.run(
            "INSERT INTO imagegen.results (name, account_id, media_type, expires_at)"
            " VALUES (%(name)s, %(account)s, 'image/png', now() + interval '1 day')",
            {"name": name, "account": self._account},
        )

    def _new_job(self, number: int) -> NewJob:
        key = f"bench-{number}-{time.time_ns()}"
        request = JobRequest(
            params=RequestParams(task=TextToImage(), limits=Limits(), prompt="red house"),
            options=JobOptions(request_id=key),
            serialize=lambda _: b"",
            idempotency_key=key,
            digest=hashlib.sha256(b"request").digest(),
            webhook_url="https://receiver.example/hook",
        )
        return NewJob(
            id=new_job_id(),
            account_id=self._account,
            request=request,
            stored=b"r" * 500,
            task="text_to_image",
            family="starter",
            seed=7,
            cost=1000.0,
            work_seconds=10.0,
        )


def _progress(step: int) -> Progress:
    return Progress(Stage.DENOISE, step, 8)


def server_seconds() -> float:
    """CPU time of all PostgreSQL processes of this machine so far; their children's that have gone included."""
    total = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = stat.read_text().partition(" (")[2].rpartition(") ")
        except OSError:  # it has gone meanwhile
            continue
        if name == "postgres":
            total += sum(map(int, rest.split()[11:15]))
    return total / TICKS


async def measure(url: str, jobs: int, rate: float) -> None:
    """Walk `jobs` jobs, `rate` started in a second (0: one after the other), and print what they cost."""
    database = Database(url)
    await database.open()
    stats = QueueStatsCache(database, max_queued=100_000, max_held_bytes=1 << 40)
    store = JobStore(database, stats, price=Decimal(1), max_account_bytes=1 << 40)
    (account,) = await database.run("SELECT id FROM imagegen.accounts WHERE name = 'anonymous'")
    walk = Walk(store, Attempts(database, "bench", 3), database, account["id"])
    for number in range(20):
        await walk.job(number)  # statements are prepared, caches are warm
    walk.seconds.clear()
    before = time.process_time(), server_seconds(), await transactions(database)
    started = time.perf_counter()
    await walk_all(walk, jobs, rate)
    wall = time.perf_counter() - started
    after = time.process_time(), server_seconds(), await transactions(database)
    await database.close()
    for name, seconds in walk.seconds.items():
        print(f"{name:>8} {seconds / jobs * 1e3:8.2f} ms")
    python, server, commits = ((new - old) / jobs for old, new in zip(before, after, strict=True))
    print(f"{jobs} jobs, {jobs / wall:.1f} a second: a job costs {python * 1e3:.2f} ms of Python's CPU,")
    print(f"{server * 1e3:.2f} ms of PostgreSQL's, {commits:.1f} transactions; 50 a second take", end=" ")
    print(f"{python * 50:.2f} and {server * 50:.2f} of a core")


async def walk_all(walk: Walk, jobs: int, rate: float) -> None:
    """Begin jobs at a rate, whether or not those before have ended; or one after the other."""
    if not rate:
        for number in range(jobs):
            await walk.job(number)
        return
    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(jobs):
            await asyncio.sleep(max(0.0, started + number / rate - time.perf_counter()))
            group.create_task(walk.job(number))


async def transactions(database: Database) -> int:
    """Transactions that were committed in the database so far."""
    await database.run("SELECT pg_stat_force_next_flush()")
    (row,) = await database.run("SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()")
    return int(row["xact_commit"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.job_store", description=__doc__)
    parser.add_argument("url", help="postgresql:// URL of a migrated database")
    parser.add_argument("--jobs", type=int, default=500)
    parser.add_argument("--rate", type=float, default=50.0, help="jobs a second; 0: one after the other")
    arguments = parser.parse_args()
    asyncio.run(measure(arguments.url, arguments.jobs, arguments.rate))
