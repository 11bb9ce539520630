"""The durable jobs of one process over a real database, with networks that are formulas."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from imagegen.v1 import generation_pb2 as pb
from imagegen.v1 import jobs_pb2
from orchestrator.accounts.account import Account
from orchestrator.api import converters, status
from orchestrator.config import Settings
from orchestrator.database.listen import Listener
from orchestrator.database.pool import Database
from orchestrator.generation.events import Event
from orchestrator.generation.job import JobState
from orchestrator.jobs.records import JobRecord
from orchestrator.jobs.service import link
from orchestrator.jobs.system import JobSystem, new_process_id
from orchestrator.params import Limits
from orchestrator.results.store import ResultStore
from orchestrator.web.posting import Poster
from orchestrator.webhooks.delivery import MAX_CONCURRENT, POST_SECONDS, Deliverer
from tests.unit.orchestrator.world import World, build

ANONYMOUS = Account(id=1, name="anonymous")

EVERY_END = (jobs_pb2.WEBHOOK_EVENT_COMPLETE, jobs_pb2.WEBHOOK_EVENT_FAILED)
"""Events of a webhook that reports every end of the job."""


@dataclass
class JobHarness:
    """A job system and what surrounds it.

    Attributes:
        is_ready: whether it may claim jobs.
        streams: how many Generate streams seem to run in its process.
    """

    world: World
    database: Database
    results: ResultStore
    folder: Path
    system: JobSystem = field(init=False)
    deliverer: Deliverer = field(init=False)
    is_ready: bool = True
    streams: int = 0

    async def submit(
        self,
        webhook: str | None = None,
        data: str | None = None,
        account: Account = ANONYMOUS,
        events: Sequence[jobs_pb2.WebhookEvent.ValueType] = EVERY_END,
        **fields: object,
    ) -> JobRecord:
        """A new job, perhaps with a webhook; `fields` are those of GenerateRequest."""
        request = pb.GenerateRequest(text_to_image=pb.TextToImage(), prompt="red house", **fields)  # type: ignore[arg-type]  # of several types
        asked = jobs_pb2.CreateJobRequest(request=request)
        if webhook is not None:
            asked.webhook.MergeFrom(jobs_pb2.Webhook(url=webhook, data=data, events=events))
        elif data is not None:
            asked.webhook.data = data
        order = converters.to_job_request(asked, Limits(), "name")
        return await self.system.jobs.submit(account, order)

    async def get(self, job: JobRecord) -> JobRecord:
        """A job as it is now."""
        return await self.system.jobs.get(ANONYMOUS, job.id)

    async def watch(self, job: JobRecord) -> list[tuple[int, Event]]:
        """All events of a job to its end."""
        async with asyncio.timeout(30), aclosing(self.system.jobs.watch(job.id, 0)) as events:
            return [item async for item in events]

    async def until(self, job: JobRecord, state: JobState) -> JobRecord:
        """A job once it is there."""
        async with asyncio.timeout(30):
            while (now := await self.get(job)).state is not state:  # noqa: ASYNC110  # no event
                await asyncio.sleep(0.02)
        return now

    def files(self) -> list[str]:
        """Names of the files in the result store."""
        return [path.name for path in self.folder.iterdir()]

    async def cut(self) -> None:
        """End all connections to the database but the one that does it."""
        await self.database.run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


@asynccontextmanager
async def running(url: str, tmp_path: Path, **changes: object) -> AsyncIterator[JobHarness]:
    """A job system that works; `changes` are settings, where they differ from one slot."""
    folder = tmp_path / "pictures"
    usual = {"database_url": url, "results_url": str(folder), "worker_slots": 1}
    settings = Settings(**{**usual, **changes})  # type: ignore[arg-type]  # of several types
    process_id = new_process_id()
    database, listener = Database(url), Listener(url, process_id)
    results = ResultStore.from_settings(settings, database, {})
    world = build(tmp_path)
    harness = JobHarness(world, database, results, folder)
    parse = partial(converters.from_stored, limits=Limits())
    runner = replace(world.runner, results=results)
    harness.system = JobSystem(
        settings,
        database,
        listener,
        runner,
        results,
        parse,
        process_id=process_id,
        may_start=lambda: harness.is_ready,
        streams=lambda: harness.streams,
    )
    poster = Poster(
        seconds=POST_SECONDS,
        max_connections=MAX_CONCURRENT,
        allow_private=settings.webhook_private,
        ports=settings.receiver_ports,
    )
    harness.deliverer = Deliverer(database, listener, poster, partial(link, results), status.message)
    await database.open()
    await listener.start()
    await harness.system.start()
    await harness.deliverer.start()
    try:
        yield harness
    finally:
        await harness.system.drain(0)
        await harness.system.close()
        await harness.deliverer.close()
        await listener.close()
        await database.close()
