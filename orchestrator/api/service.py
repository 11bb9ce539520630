"""The servicers: convert, call, convert."""

import contextlib
from collections.abc import AsyncGenerator
from typing import Any

import grpc
import structlog

from imagegen.v1 import generation_pb2 as pb
from imagegen.v1 import generation_pb2_grpc, jobs_pb2, jobs_pb2_grpc
from orchestrator.api import converters
from orchestrator.api.auth import account, request_id
from orchestrator.errors import InvalidRequestError, Violation
from orchestrator.jobs.job import Job
from orchestrator.jobs.queue import JobQueue
from orchestrator.models.contracts import NetworkSource
from orchestrator.models.families import Families
from orchestrator.params import Delivery, Limits
from orchestrator.results.store import ResultStore

Context = grpc.aio.ServicerContext[Any, Any]


class GenerationServicer(generation_pb2_grpc.GenerationServiceServicer):
    """GenerationService over the job queue."""

    def __init__(self, queue: JobQueue, families: Families, networks: NetworkSource, limits: Limits) -> None:
        self._queue, self._families, self._networks, self._limits = queue, families, networks, limits

    async def Generate(self, request: pb.GenerateRequest, _context: Context) -> AsyncGenerator[pb.GenerateEvent, None]:
        """A job that ends with its stream, unless it is to be detached."""
        job = await _submit(self._queue, request, self._limits, ephemeral=not request.detach_on_disconnect)
        try:
            async with contextlib.aclosing(_messages(job)) as messages:
                async for message in messages:
                    yield message
        finally:  # also when the client has hung up: then the loop above ends with CancelledError
            if job.ephemeral:
                self._queue.cancel(job)
                self._queue.forget(job)

    async def ListFamilies(self, _request: pb.ListFamiliesRequest, _context: Context) -> pb.ListFamiliesResponse:
        """Every family of families.toml."""
        return pb.ListFamiliesResponse(
            families=[converters.to_family(f, ready=self._networks.is_ready(f.name)) for f in self._families]
        )


class JobServicer(jobs_pb2_grpc.JobServiceServicer):
    """JobService over the job queue and the result store."""

    def __init__(self, queue: JobQueue, results: ResultStore, limits: Limits) -> None:
        self._queue, self._results, self._limits = queue, results, limits

    async def CreateJob(self, request: jobs_pb2.CreateJobRequest, _context: Context) -> jobs_pb2.Job:
        """Queue a request whose picture goes to the result store."""
        if not request.HasField("request"):
            raise InvalidRequestError(Violation("request", "is not set"))
        request.request.output.delivery = converters.DELIVERIES[Delivery.URI]
        try:
            return converters.to_job(await _submit(self._queue, request.request, self._limits, ephemeral=False))
        except InvalidRequestError as error:  # its paths are GenerateRequest's
            violations = (Violation(f"request.{v.field}", v.description) for v in error.violations)
            raise InvalidRequestError(*violations) from error

    async def GetJob(self, request: jobs_pb2.GetJobRequest, _context: Context) -> jobs_pb2.Job:
        """The state of a job."""
        return converters.to_job(self._job(request.job_id))

    async def WatchJob(
        self, request: jobs_pb2.WatchJobRequest, _context: Context
    ) -> AsyncGenerator[pb.GenerateEvent, None]:
        """The events of a job."""
        async with contextlib.aclosing(_messages(self._job(request.job_id), request.after_sequence)) as messages:
            async for message in messages:
                yield message

    async def CancelJob(self, request: jobs_pb2.CancelJobRequest, _context: Context) -> jobs_pb2.Job:
        """Stop a job."""
        job = self._job(request.job_id)
        self._queue.cancel(job)
        return converters.to_job(job)

    async def DeleteJob(self, request: jobs_pb2.DeleteJobRequest, _context: Context) -> jobs_pb2.Job:
        """Remove a job's picture."""
        job = self._job(request.job_id)
        await self._queue.delete(job)
        return converters.to_job(job)

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

    def _job(self, job_id: str) -> Job:
        return self._queue.get(job_id, account.get())


async def _submit(queue: JobQueue, request: pb.GenerateRequest, limits: Limits, *, ephemeral: bool) -> Job:
    """Queue a request of the caller. From here on the call bears the request's id, if it has one."""
    options = converters.to_options(request, request_id.get())
    request_id.set(options.request_id)
    structlog.contextvars.bind_contextvars(request_id=options.request_id)
    params = converters.to_params(request, limits)
    return await queue.submit(account.get(), params, options, ephemeral=ephemeral)


async def _messages(job: Job, after_sequence: int = 0) -> AsyncGenerator[pb.GenerateEvent, None]:
    """The events of a job as messages. Closing it ends the watch at once."""
    async with contextlib.aclosing(job.watch(after_sequence)) as events:
        async for sequence, event in events:
            for message in converters.from_event(job, sequence, event):
                yield message
