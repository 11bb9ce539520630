"""The client for asyncio."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import Self, Unpack

from imagegen_client import calls
from imagegen_client.aio_connection import AsyncConnection
from imagegen_client.calls import Tls
from imagegen_client.events import Event
from imagegen_client.jobs import Account, Estimate, Family, JobStatus, State, state_number
from imagegen_client.pictures import Picture, Source
from imagegen_client.replay import Replay, differences, repeat
from imagegen_client.requests import Options, build
from imagegen_client.tasks import Task
from imagegen_client.v1 import accounts_pb2, jobs_pb2
from imagegen_client.v1 import generation_pb2 as pb


class AsyncClient:
    """A client of one service. For one event loop; close it, or use it as a context manager."""

    def __init__(
        self,
        address: str | None = None,
        key: str | None = None,
        *,
        tls: Tls = False,
        timeout: float | None = calls.TIMEOUT,
        retry_seconds: float = calls.RETRY_SECONDS,
    ) -> None:
        """Open a channel; it connects with the first call.

        Args:
            address: host:port, or grpcs://host:port; default: IMAGEGEN_ADDRESS, else 127.0.0.1:50051.
            key: API key; default: IMAGEGEN_API_KEY.
            tls: see calls.Tls.
            timeout: seconds that a picture may take, with waiting; None for any time.
            retry_seconds: how long a call is sent again while nobody answers it or a limit passes; 0 for once.
        """
        self._connection = AsyncConnection(address, key, tls, timeout, retry_seconds)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the channel. Jobs go on."""
        await self._connection.channel.close()

    async def generate(
        self, prompt: str | None = None, task: Task | None = None, **options: Unpack[Options]
    ) -> Picture:
        """Generate a picture and wait for it. Cancelling this cancels it.

        Args:
            prompt: what the picture shows; some tasks do without.
            task: of tasks.py; default: from text alone.
            options: see requests.Options.

        Raises:
            ImagegenError: see errors.py.
        """
        async with aclosing(self.stream(prompt, task, **options)) as events:
            return await _last(events)

    async def stream(
        self, prompt: str | None = None, task: Task | None = None, **options: Unpack[Options]
    ) -> AsyncGenerator[Event, None]:
        """Generate a picture, and give what happens meanwhile; the picture is last. Closing it cancels the job."""
        job = await self.submit(prompt, task, **options)
        is_done = False
        try:
            async with aclosing(job.watch()) as events:
                async for event in events:
                    is_done = isinstance(event, Picture)
                    yield event
        finally:
            if not is_done:
                await self._connection.give_up(job.id)

    async def submit(
        self, prompt: str | None = None, task: Task | None = None, **options: Unpack[Options]
    ) -> "AsyncJob":
        """Queue a picture. Its job goes on without this client; it is one job, however often it had to be sent."""
        request = jobs_pb2.CreateJobRequest(request=await asyncio.to_thread(build, prompt, task, options))
        return AsyncJob(self._connection, await self._connection.call(self._connection.jobs.CreateJob, request))

    async def submit_many(
        self, n: int, prompt: str | None = None, task: Task | None = None, **options: Unpack[Options]
    ) -> "list[AsyncJob]":
        """Queue `n` pictures, 1 to 10, with seeds in a row, each as a job of its own: all or none."""
        request = jobs_pb2.CreateJobRequest(request=await asyncio.to_thread(build, prompt, task, options), n=n)
        first = await self._connection.call(self._connection.jobs.CreateJob, request)
        return [AsyncJob(self._connection, job) for job in (first, *first.siblings)]

    async def estimate(
        self, prompt: str | None = None, task: Task | None = None, *, n: int = 1, **options: Unpack[Options]
    ) -> Estimate:
        """What a request would cost, and how long it would take. Nothing is queued or paid."""
        request = jobs_pb2.EstimateJobRequest(request=await asyncio.to_thread(build, prompt, task, options), n=n)
        return Estimate.of(await self._connection.call(self._connection.jobs.EstimateJob, request))

    async def job(self, job_id: str) -> "AsyncJob":
        """A job of the account, by its id."""
        return AsyncJob(self._connection, await self._connection.get(job_id))

    async def replay(self, job_id: str, pictures: Sequence[Source] = ()) -> Replay:
        """Generate a job's picture again, as a job of its own, and compare both. As Client.replay."""
        before = await self._connection.get(job_id)
        repeated = await asyncio.to_thread(lambda: build(None, None, {"base": repeat(before, pictures)}))
        request = jobs_pb2.CreateJobRequest(request=repeated)
        job = AsyncJob(self._connection, await self._connection.call(self._connection.jobs.CreateJob, request))
        picture = await job.wait()
        return Replay(picture, differences(before.artifact, (await self._connection.get(job.id)).artifact))

    async def jobs(self, state: State | None = None) -> AsyncGenerator["AsyncJob", None]:
        """The account's jobs, newest first; in one state if it is named."""
        token: str | None = None
        while token != "":
            request = jobs_pb2.ListJobsRequest(page_size=100, page_token=token, state=state_number(state))
            page = await self._connection.call(self._connection.jobs.ListJobs, request)
            for job in page.jobs:
                yield AsyncJob(self._connection, job)
            token = page.next_page_token

    async def families(self) -> list[Family]:
        """The model families; the first is the default."""
        answer = await self._connection.call(self._connection.generation.ListFamilies, pb.ListFamiliesRequest())
        return [Family.of(family) for family in answer.families]

    async def account(self) -> Account:
        """The account of the key."""
        request = accounts_pb2.GetAccountRequest()
        return Account.of(await self._connection.call(self._connection.accounts.GetAccount, request))


class AsyncJob:
    """A job of the service: it goes on whatever becomes of this object."""

    def __init__(self, connection: AsyncConnection, job: jobs_pb2.Job) -> None:
        self._connection, self._job = connection, job

    def __repr__(self) -> str:
        return f"AsyncJob(id={self.id!r}, state={self.status.state!r})"

    @property
    def id(self) -> str:
        """Its id."""
        return self._job.job_id

    @property
    def status(self) -> JobStatus:
        """As it was when it was last asked for."""
        return JobStatus.of(self._job)

    async def refresh(self) -> JobStatus:
        """Ask for its state."""
        self._job = await self._connection.get(self.id)
        return self.status

    async def watch(self, timeout: float | None = None) -> AsyncGenerator[Event, None]:
        """What happens to it; the picture is last.

        Raises:
            ImagegenError: it failed, or was cancelled, or the timeout (seconds; default: the client's) passed.
        """
        async with aclosing(self._connection.watch(self.id, self._connection.deadline(timeout))) as events:
            async for event in events:
                if isinstance(event, Picture):
                    await self.refresh()
                yield event

    async def wait(self, timeout: float | None = None) -> Picture:
        """Wait for its picture. Raises as watch does; the job goes on."""
        async with aclosing(self.watch(timeout)) as events:
            return await _last(events)

    async def cancel(self) -> JobStatus:
        """Stop it. One that has ended stays as it is."""
        request = jobs_pb2.CancelJobRequest(job_id=self.id)
        self._job = await self._connection.call(self._connection.jobs.CancelJob, request)
        return self.status

    async def delete(self) -> JobStatus:
        """Remove its picture; one that waits or runs is stopped first."""
        request = jobs_pb2.DeleteJobRequest(job_id=self.id)
        self._job = await self._connection.call(self._connection.jobs.DeleteJob, request)
        return self.status


async def _last(events: AsyncGenerator[Event, None]) -> Picture:
    """The last event: a picture."""
    async for event in events:
        if isinstance(event, Picture):
            return event
    raise AssertionError("the last event is the picture, or an error is raised")
