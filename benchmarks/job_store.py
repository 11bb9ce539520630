"""`python -m benchmarks.job_store URL`: what a durable job costs Python and PostgreSQL, on an empty migrated database.

Walks jobs through their whole life on the real store and procrastinate's real queue, without a worker's loop around
it: submit, fetch, start, two batches of events (one with a preview of 6 KB), note the picture, finish, done, and one
look at it by a client. Prints milliseconds of wall time for each, then for a whole job the transactions and the CPU
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

import procrastinate

from orchestrator.database.pool import Database
from orchestrator.diffusion.pipeline import Stage, StageTime
from orchestrator.generation.events import Artifact, Preview, Progress, Started
from orchestrator.jobs.deferring import defer_to
from orchestrator.jobs.records import Submission
from orchestrator.jobs.store import JobStore
from orchestrator.models.source import ModelDigest
from orchestrator.params import ImageFormat, Priority, SamplerName

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

    def __init__(self, app: procrastinate.App, store: JobStore, database: Database, worker: int, account: int) -> None:
        self._app, self._store, self._database = app, store, database
        self._worker, self._account = worker, account
        self.seconds: dict[str, float] = defaultdict(float)

    async def job(self, number: int) -> None:
        """One job from its submission to its end."""
        store = self._store
        record = await self._timed("submit", store.submit(self._submission(number)))
        row = await self._timed("fetch", self._app.job_manager.fetch_job(queues=None, worker_id=self._worker))
        if row is None:
            raise RuntimeError("nothing to fetch")
        job_id = str(row.task_kwargs["job_id"])
        attempt = await self._timed("start", store.start(job_id))
        if attempt is None:
            raise RuntimeError(f"job {job_id} has ended")
        await self._timed("events", store.save_events(attempt, [(1, Started(7, 64, 64, 0)), (2, _progress(1))]))
        await self._timed("events", store.save_events(attempt, [(3, Preview(b"j" * 6000, 4)), (4, _progress(5))]))
        picture = f"{job_id}.png"
        await self._timed("note", self._note(picture))
        if not await self._timed("finish", store.finish(attempt, ARTIFACT, picture, [(5, _progress(8))])):
            raise RuntimeError(f"job {job_id} was taken away")
        done = procrastinate.jobs.Status.SUCCEEDED
        await self._timed("done", self._app.job_manager.finish_job(row, done, delete_job=True))
        await self._timed("get", store.get(record.id, self._account))

    async def _timed(self, name: str, work: Awaitable[T]) -> T:
        begun = time.perf_counter()
        try:
            return await work
        finally:
            self.seconds[name] += time.perf_counter() - begun

    async def _note(self, name: str) -> None:
        await self._database.run(
            "INSERT INTO imagegen.results (name, account_id, media_type, expires_at)"
            " VALUES (%(name)s, %(account)s, 'image/png', now() + interval '1 day')",
            {"name": name, "account": self._account},
        )

    def _submission(self, number: int) -> Submission:
        return Submission(
            account_id=self._account,
            request_id=f"bench-{number}-{time.time_ns()}",
            idempotency_key=f"bench-{number}-{time.time_ns()}",
            digest=hashlib.sha256(b"request").digest(),
            request=b"r" * 500,
            task="text_to_image",
            family="starter",
            seed=7,
            priority=Priority.NORMAL,
            cost=1000.0,
            webhook_url="https://receiver.example/hook",
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
    """Walk so many jobs, `rate` begun in a second (0: one after the other), and print what they cost."""
    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=url, min_size=1))

    @app.task(name="run_job")
    async def run_job(job_id: str) -> None: ...

    database = Database(url)
    await database.open()
    async with app.open_async():
        worker = await app.job_manager.register_worker()
        store = JobStore(database, defer_to(run_job), price=Decimal(1), max_queued=100_000, max_attempts=3)
        (account,) = await database.run("SELECT id FROM imagegen.accounts WHERE name = 'anonymous'")
        walk = Walk(app, store, database, worker, account["id"])
        for number in range(20):
            await walk.job(number)  # statements are prepared, caches are warm
        walk.seconds.clear()
        before = time.process_time(), server_seconds(), await transactions(database)
        begun = time.perf_counter()
        await walk_all(walk, jobs, rate)
        wall = time.perf_counter() - begun
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
    begun = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(jobs):
            await asyncio.sleep(max(0.0, begun + number / rate - time.perf_counter()))
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
