"""The calls of the client for asyncio."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, TypeVar

import grpc
import stamina

from imagegen_client import calls
from imagegen_client.calls import Deadline, Tls, passing
from imagegen_client.errors import UnavailableError, from_call, from_job
from imagegen_client.events import Event, Reader
from imagegen_client.jobs import ENDED, result_name
from imagegen_client.pictures import Picture
from imagegen_client.v1 import accounts_pb2_grpc, generation_pb2_grpc, jobs_pb2, jobs_pb2_grpc

Answer = TypeVar("Answer")


class AsyncConnection:
    """A channel, and how it is used."""

    def __init__(
        self, address: str | None, key: str | None, tls: Tls, timeout: float | None, retry_seconds: float
    ) -> None:
        where, credentials = calls.target(address, tls)
        self.channel = (
            grpc.aio.insecure_channel(where, calls.OPTIONS)
            if credentials is None
            else grpc.aio.secure_channel(where, credentials, calls.OPTIONS)
        )
        self.jobs = jobs_pb2_grpc.JobServiceStub(self.channel)
        self.generation = generation_pb2_grpc.GenerationServiceStub(self.channel)
        self.accounts = accounts_pb2_grpc.AccountServiceStub(self.channel)
        self._metadata = calls.metadata(key)
        self._timeout, self._retry_seconds = timeout, retry_seconds

    def deadline(self, timeout: float | None) -> Deadline:
        """When a caller that waits from now on has waited long enough."""
        return Deadline(self._timeout if timeout is None else timeout)

    async def call(self, method: Callable[..., Awaitable[Answer]], request: object) -> Answer:
        """Call a method that answers once, again while that may help."""
        return await self._retried(lambda: method(request, timeout=calls.CALL_SECONDS, metadata=self._metadata))

    async def get(self, job_id: str) -> jobs_pb2.Job:
        """The state of a job."""
        return await self.call(self.jobs.GetJob, jobs_pb2.GetJobRequest(job_id=job_id))

    async def watch(self, job_id: str, deadline: Deadline) -> AsyncGenerator[Event, None]:
        """Events of a job until it ends, through servers that stop and come back; the picture is last."""
        reader = Reader(job_id)
        while True:
            request = jobs_pb2.WatchJobRequest(job_id=job_id, after_sequence=reader.sequence)
            stream = self.jobs.WatchJob(request, timeout=deadline.left, metadata=self._metadata)
            broken: grpc.RpcError | None = None
            try:
                async for message in stream:
                    event = reader.read(message)
                    if event is not None:
                        yield event
            except grpc.RpcError as error:
                broken = error
            finally:
                stream.cancel()
            job = await self.get(job_id)  # a job that failed breaks its stream too
            if job.state in ENDED:
                yield await self.picture(job)
                return
            await asyncio.sleep(deadline.pause(broken))

    async def picture(self, job: jobs_pb2.Job) -> Picture:
        """The picture of a job that has ended.

        Raises:
            ImagegenError: it has none.
        """
        if job.state != jobs_pb2.JOB_STATE_SUCCEEDED:
            raise from_job(job)
        request = jobs_pb2.ReadResultRequest(name=result_name(job.artifact.uri))

        async def read() -> bytes:
            digest, data = b"", bytearray()
            async for part in self.jobs.ReadResult(request, timeout=calls.READ_SECONDS, metadata=self._metadata):
                digest = digest or part.sha256
                data += part.data
            if hashlib.sha256(data).digest() != digest:
                raise UnavailableError("the picture arrived incomplete", code=grpc.StatusCode.UNAVAILABLE)
            return bytes(data)

        return Picture.of(job.artifact, await self._retried(read), job.job_id)

    async def give_up(self, job_id: str) -> None:
        """Cancel a job that nobody waits for, if the server can be reached at once."""
        request = jobs_pb2.CancelJobRequest(job_id=job_id)
        with contextlib.suppress(grpc.RpcError):
            await self.jobs.CancelJob(request, timeout=calls.GIVE_UP_SECONDS, metadata=self._metadata)

    async def _retried(self, work: Callable[[], Awaitable[Answer]]) -> Answer:
        policy: dict[str, Any] = calls.policy(self._retry_seconds)
        try:
            async for attempt in stamina.retry_context(on=passing, **policy):
                with attempt:
                    return await work()
        except grpc.RpcError as error:
            raise from_call(error) from error
        raise AssertionError("the last attempt raises")
