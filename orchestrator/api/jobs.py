"""JobService: convert, call, convert."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterator
from functools import partial
from typing import Any

import grpc

from imagegen.v1 import generation_pb2 as pb
from imagegen.v1 import jobs_pb2, jobs_pb2_grpc
from orchestrator.api import converters
from orchestrator.api.auth import account, is_named, rename, request_id
from orchestrator.api.safety import apply_policy
from orchestrator.config import Ports
from orchestrator.errors import InvalidRequestError, Violation
from orchestrator.jobs.service import DurableJobs
from orchestrator.jobs.thumbnails import Thumbnails
from orchestrator.params import ImageFormat, Limits
from orchestrator.results.store import ResultStore

Context = grpc.aio.ServicerContext[Any, Any]


class JobServicer(jobs_pb2_grpc.JobServiceServicer):
    """JobService over durable jobs and the result store."""

    def __init__(
        self,
        jobs: DurableJobs,
        results: ResultStore,
        thumbnails: Thumbnails,
        limits: Limits,
        *,
        webhook_private: bool,
        webhook_ports: Ports,
    ) -> None:
        self._jobs, self._results, self._thumbnails, self._limits = jobs, results, thumbnails, limits
        self._check_webhook = partial(converters.check_hook, allow_private=webhook_private, ports=webhook_ports)

    async def CreateJob(self, request: jobs_pb2.CreateJobRequest, _context: Context) -> jobs_pb2.Job:
        """Store a request, as one or more jobs; their pictures go to the result store."""
        if request.HasField("webhook"):
            await asyncio.to_thread(self._check_webhook, request.webhook)
        converters.check_notes(request.notes)
        count = _count(request)
        apply_policy(request.request, account.get())
        with _within("request"):
            order = await asyncio.to_thread(converters.to_job_request, request, self._limits, request_id.get())
            first, *others = await self._jobs.submit_all(account.get(), order, count)
        job = converters.to_job(first)
        job.siblings.extend(map(converters.to_job, others))
        return job

    async def EstimateJob(self, request: jobs_pb2.EstimateJobRequest, _context: Context) -> jobs_pb2.JobEstimate:
        """What a request would cost, and how long it would take."""
        count = _count(request)
        apply_policy(request.request, account.get())
        with _within("request"):
            params = await asyncio.to_thread(converters.to_params, request.request, self._limits)
            return converters.to_estimate(await self._jobs.estimate(account.get(), params, count))

    async def GetJob(self, request: jobs_pb2.GetJobRequest, _context: Context) -> jobs_pb2.Job:
        """The state of a job."""
        return converters.to_job(await self._jobs.get(account.get(), request.job_id))

    async def ListJobs(self, request: jobs_pb2.ListJobsRequest, _context: Context) -> jobs_pb2.ListJobsResponse:
        """A page of the account's jobs."""
        size, after, state = converters.to_page(request)
        return converters.to_list(await self._jobs.list_jobs(account.get(), size + 1, after, state), size)

    async def WatchJob(
        self, request: jobs_pb2.WatchJobRequest, _context: Context
    ) -> AsyncGenerator[pb.GenerateEvent, None]:
        """The events of a job."""
        record = await self._jobs.get(account.get(), request.job_id)
        async with contextlib.aclosing(self._jobs.watch(record.id, request.after_sequence)) as events:
            async for number, event in events:
                for message in converters.from_event(record.id, record.request_id, number, event):
                    yield message

    async def CancelJob(self, request: jobs_pb2.CancelJobRequest, _context: Context) -> jobs_pb2.Job:
        """Stop a job."""
        return converters.to_job(await self._jobs.cancel(account.get(), request.job_id))

    async def DeleteJob(self, request: jobs_pb2.DeleteJobRequest, _context: Context) -> jobs_pb2.Job:
        """Remove a job's picture."""
        return converters.to_job(await self._jobs.delete(account.get(), request.job_id))

    async def ReadResult(
        self, request: jobs_pb2.ReadResultRequest, _context: Context
    ) -> AsyncGenerator[jobs_pb2.ReadResultResponse, None]:
        """A picture's bytes."""
        stored = await self._results.open(request.name)
        answer = jobs_pb2.ReadResultResponse(
            content_type=stored.media_type, file_size=stored.size, sha256=stored.sha256
        )
        async for chunk in stored.chunks:
            answer.data = chunk
            yield answer
            answer = jobs_pb2.ReadResultResponse()

    async def ReadThumbnail(
        self, request: jobs_pb2.ReadThumbnailRequest, _context: Context
    ) -> jobs_pb2.ReadThumbnailResponse:
        """A small copy of a job's picture."""
        record = await self._jobs.get(account.get(), request.job_id)
        data = await self._thumbnails.read(record)
        return jobs_pb2.ReadThumbnailResponse(data=data, content_type=ImageFormat.WEBP.media_type)


def _count(request: jobs_pb2.CreateJobRequest | jobs_pb2.EstimateJobRequest) -> int:
    """The number of jobs that are asked for. What the request is called goes to the log."""
    if not request.HasField("request"):
        raise InvalidRequestError(Violation("request", "is not set"))
    if not is_named.get() and request.request.request_id:
        rename(request.request.request_id)
    return converters.to_count(request.n if request.HasField("n") else 1)


@contextlib.contextmanager
def _within(field: str) -> Iterator[None]:
    """Violations in the message of a field are reported with paths of the message around it."""
    try:
        yield
    except InvalidRequestError as error:
        raise InvalidRequestError(*(each.within(field) for each in error.violations)) from error
