"""What the tests of the job store have in common: a store, its queue, and jobs by the dozen."""

import asyncio
import hashlib
import itertools
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import procrastinate
import psycopg
from procrastinate.jobs import Job
from psycopg import sql

from orchestrator.database.pool import Database
from orchestrator.generation.events import Artifact
from orchestrator.jobs.deferring import defer_to
from orchestrator.jobs.records import Attempt, Submission
from orchestrator.jobs.store import JobStore
from orchestrator.params import ImageFormat, Priority, SamplerName

PRICE = Decimal(2)

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
    """A store and what surrounds it."""

    database: Database
    app: procrastinate.App
    store: JobStore
    worker: int
    fetched: dict[str, Job] = field(default_factory=dict)

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, **settings: Any) -> AsyncIterator["Bench"]:
        """Connect to a database; `settings` are JobStore's, where they differ from the usual."""
        database = Database(url, 20)
        app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=url, min_size=1))

        @app.task(name="run_job")
        async def run_job(job_id: str) -> None:
            raise AssertionError(job_id)

        await database.open()
        try:
            async with app.open_async():
                worker = await app.job_manager.register_worker()
                usual: dict[str, Any] = {"price": PRICE, "max_queued": 100_000, "max_attempts": 3}
                store = JobStore(database, defer_to(run_job), **(usual | settings))
                yield cls(database, app, store, worker)
        finally:
            await database.close()

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

    async def start(self, job_id: str) -> Attempt:
        """Begin a job that can be begun."""
        attempt = await self.store.start(job_id)
        assert attempt is not None
        return attempt

    def forget_look(self) -> None:
        """Let the store look anew at how busy the queue is, though it has only just looked."""
        self.store._load._looked_at = -math.inf

    @asynccontextmanager
    async def admin(self) -> AsyncIterator[psycopg.AsyncConnection]:
        """A connection beside the store's."""
        async with await psycopg.AsyncConnection.connect(self.database.url, autocommit=True) as connection:
            yield connection

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

    async def fetch(self) -> str | None:
        """The job that procrastinate hands out next, by its own order; its id."""
        job = await self.app.job_manager.fetch_job(queues=None, worker_id=self.worker)
        if job is None:
            return None
        job_id = str(job.task_kwargs["job_id"])
        self.fetched[job_id] = job
        return job_id

    async def done(self, job_id: str) -> None:
        """Tell procrastinate that its part is over."""
        job = self.fetched.pop(job_id)
        await self.app.job_manager.finish_job(job, procrastinate.jobs.Status.SUCCEEDED, delete_job=True)

    async def note(self, name: str, account_id: int) -> str:
        """Note a picture in the result store's table, as the worker does before it stores one; returns its name."""
        await self.database.run(
            "INSERT INTO imagegen.results (name, account_id, media_type, expires_at)"
            " VALUES (%(name)s, %(account)s, 'image/png', now() + interval '1 day')",
            {"name": name, "account": account_id},
        )
        return name


def submission(account_id: int, key: str | None = None, **changes: Any) -> Submission:
    """A small job of an account."""
    body = changes.pop("body", b"request")
    values: dict[str, Any] = {
        "account_id": account_id,
        "request_id": key or f"request-{next(_numbers)}",
        "idempotency_key": key,
        "digest": hashlib.sha256(body).digest(),
        "request": body,
        "task": "text_to_image",
        "family": "starter",
        "seed": 7,
        "priority": Priority.NORMAL,
        "cost": 1000.0,
    }
    return Submission(**(values | changes))
