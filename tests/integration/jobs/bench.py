"""What the tests of the job store have in common: a store, the attempts of a process, and jobs by the dozen."""

import asyncio
import hashlib
import itertools
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import psycopg
from psycopg import sql

from orchestrator.database.pool import Database
from orchestrator.generation.events import Artifact
from orchestrator.generation.job import new_job_id
from orchestrator.jobs.attempts import Attempts
from orchestrator.jobs.maintenance import CONFIRM_SECONDS, Maintenance
from orchestrator.jobs.records import Attempt, JobRequest, NewJob
from orchestrator.jobs.scheduling import QueueStatsCache
from orchestrator.jobs.store import JobStore
from orchestrator.params import ImageFormat, JobOptions, Limits, Priority, RequestParams, SamplerName, TextToImage
from tests.database import new_url

PRICE = Decimal(2)
DAY = 86_400.0

ARTIFACT = Artifact(
    data=b"picture",
    uri=None,
    file_size=7,
    format=ImageFormat.PNG,
    quality=None,
    width=8,
    height=8,
    seed=7,
    family="starter",
    sampler=SamplerName.DDIM,
    steps=4,
    models=(),
    timings=(),
)

_numbers = itertools.count()


@dataclass
class Bench:
    """A store and what surrounds it.

    Attributes:
        database: of the jobs.
        store: for clients.
        stats: of its queue.
        attempts: of a process that is called "bench".
        time: by the clock of maintenance.
    """

    database: Database
    store: JobStore
    stats: QueueStatsCache
    attempts: Attempts
    time: float = 0.0
    max_attempts: int = 3
    maintenance: Maintenance = field(init=False)

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str | None = None, **settings: Any) -> AsyncIterator["Bench"]:
        """Connect to a database; `settings` are those of the store, its statistics and attempts, where they differ."""
        database = Database(url or new_url(), 20)
        usual: dict[str, Any] = {
            "price": PRICE,
            "max_queued": 100_000,
            "max_attempts": 3,
            "max_held_bytes": 1 << 40,
            "max_account_bytes": 1 << 40,
        } | settings
        stats = QueueStatsCache(database, max_queued=usual["max_queued"], max_held_bytes=usual["max_held_bytes"])
        store = JobStore(database, stats, price=usual["price"], max_account_bytes=usual["max_account_bytes"])
        attempts = Attempts(database, "bench", usual["max_attempts"])
        await database.open()
        try:
            await bench_started(database, "-infinity")
            bench = cls(database, store, stats, attempts, max_attempts=usual["max_attempts"])
            bench.maintenance = bench.maintaining(attempts)
            yield bench
        finally:
            await database.close()

    def maintaining(self, attempts: Attempts) -> Maintenance:
        """Maintenance by another process."""
        results: Any = None  # pictures have their own tests
        return Maintenance(self.database, attempts, self.stats, results, DAY, clock=lambda: self.time)

    async def account(self, name: str, **columns: Any) -> int:
        """A new account; `columns` are SQL values."""
        names, values = ", ".join(["name", *columns]), ", ".join([f"'{name}'", *map(str, columns.values())])
        (row,) = await self.database.run(f"INSERT INTO imagegen.accounts ({names}) VALUES ({values}) RETURNING id")  # noqa: S608 - of this test
        return int(row["id"])

    async def value(self, sql: str, **keys: object) -> Any:
        """The one value of the one row of a statement."""
        (row,) = await self.database.run(sql, keys)
        (value,) = row.values()
        return value

    async def claim(self, attempts: Attempts | None = None) -> Attempt | None:
        """The next job, as a process that is idle gets it."""
        return await (attempts or self.attempts).claim(idle=True, alone=True)

    async def start(self, job_id: str, attempts: Attempts | None = None) -> Attempt:
        """Begin a job, though others are before it."""
        await self.database.run("UPDATE imagegen.jobs SET rank = rank + 10000000 WHERE id = %(id)s", {"id": job_id})
        attempt = await (attempts or self.attempts).claim(idle=True, alone=False)
        assert attempt is not None
        assert attempt.job_id == job_id
        return attempt

    async def restart(self, attempt: Attempt, attempts: Attempts | None = None) -> Attempt:
        """Begin a job again whose process stopped renewing its lease."""
        await self.lapse(attempt.job_id)
        return await self.start(attempt.job_id, attempts)

    async def lapse(self, *job_ids: str) -> None:
        """Let the leases of jobs lapse, and have them reclaimed."""
        await self.database.run(
            "UPDATE imagegen.jobs SET lease_until = now() - interval '1 s' WHERE id = ANY(%(ids)s)",
            {"ids": list(job_ids)},
        )
        await self.reclaim()

    async def reclaim(self) -> None:
        """What maintenance does once it has seen a lease as lapsed for long enough."""
        await self.maintenance.reclaim()
        self.time += CONFIRM_SECONDS
        await self.maintenance.reclaim()

    def forget_stats(self) -> None:
        """Let the store read the queue's statistics again, though it has only just read them."""
        self.stats._read_at = -math.inf

    @asynccontextmanager
    async def admin(self) -> AsyncIterator[psycopg.AsyncConnection]:
        """A connection other than the store's."""
        async with await psycopg.AsyncConnection.connect(self.database.url, autocommit=True) as connection:
            yield connection

    @asynccontextmanager
    async def session(self, process_id: str) -> AsyncIterator[None]:
        """The connection by which a process shows that it has not crashed."""
        name = f"imagegen-{process_id}"
        async with await psycopg.AsyncConnection.connect(self.database.url, application_name=name):
            yield

    @asynccontextmanager
    async def listen(self, *channels: str) -> AsyncIterator["asyncio.Queue[tuple[str, str]]"]:
        """What is notified meanwhile, as (channel, payload)."""
        heard: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        async with self.admin() as connection, asyncio.TaskGroup() as group:
            for channel in channels:
                await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))

            async def collect() -> None:
                async for note in connection.notifies():
                    heard.put_nowait((note.channel, note.payload))

            collecting = group.create_task(collect())
            yield heard
            collecting.cancel()

    async def note(self, name: str, account_id: int) -> str:
        """Note a picture in the result store's table, as the worker does before it stores one; returns its name."""
        await self.database.run(
            "INSERT INTO imagegen.results (name, account_id, media_type, expires_at)"
            " VALUES (%(name)s, %(account)s, 'image/png', now() + interval '1 day')",
            {"name": name, "account": account_id},
        )
        return name


async def bench_started(database: Database, when: str) -> None:
    """Let the database seem to have been started then."""
    body = f"SELECT timestamptz '{when}'"
    await database.run(
        f"CREATE OR REPLACE FUNCTION imagegen.database_started() RETURNS timestamptz LANGUAGE sql AS $${body}$$"
    )


def again(job: NewJob) -> NewJob:
    """The same request in another call."""
    return replace(job, id=new_job_id())


def new_job(account_id: int, key: str | None = None, **changes: Any) -> NewJob:
    """A small job of an account; `changes` are fields of NewJob or JobRequest, `body`, `priority` and `deadline`."""
    body, priority = changes.pop("body", b"request"), changes.pop("priority", Priority.NORMAL)
    deadline = changes.pop("deadline", None)
    hooks: dict[str, Any] = {name: changes.pop(name) for name in ("webhook_url", "webhook_data") if name in changes}
    hooks["webhook_events"] = changes.pop("webhook_events", ("complete", "failed"))
    request = JobRequest(
        params=RequestParams(family="starter", task=TextToImage(), limits=Limits(), prompt="red house"),
        options=JobOptions(
            request_id=key or f"request-{next(_numbers)}",
            priority=priority,
            deadline_seconds=deadline,
        ),
        serialize=lambda _: body,
        idempotency_key=key,
        digest=hashlib.sha256(body).digest(),
        **hooks,
    )
    values: dict[str, Any] = {"task": "text_to_image", "family": "starter", "seed": 7, "cost": 1000.0, "stored": body}
    values["work_seconds"] = 10.0
    return NewJob(id=new_job_id(), account_id=account_id, request=request, **(values | changes))
