"""GenerationService: convert, call, convert."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any

import grpc

from imagegen.v1 import generation_pb2 as pb
from imagegen.v1 import generation_pb2_grpc, jobs_pb2
from orchestrator.api import converters
from orchestrator.api.auth import account, rename, request_id
from orchestrator.api.safety import apply_policy
from orchestrator.errors import FilteredError, ImagegenError, ended_by_client
from orchestrator.generation.events import Artifact, Preview, Progress
from orchestrator.generation.job import new_job_id
from orchestrator.jobs.service import DurableJobs
from orchestrator.models.families import Families, Family
from orchestrator.models.source import NetworkSource
from orchestrator.params import Delivery, JobOptions, Limits
from orchestrator.streams.leases import Leases
from orchestrator.streams.queue import StreamQueue

Context = grpc.aio.ServicerContext[Any, Any]
Messages = AsyncGenerator[pb.GenerateEvent, None]


class GenerationServicer(generation_pb2_grpc.GenerationServiceServicer):
    """GenerationService over the streams of this process, and over durable jobs for those that detach."""

    def __init__(
        self,
        queue: StreamQueue,
        jobs: DurableJobs,
        leases: Leases,
        families: Families,
        networks: NetworkSource,
        limits: Limits,
        marks: pb.Marks,
        *,
        charge_filtered: bool,
    ) -> None:
        self._queue, self._jobs, self._leases = queue, jobs, leases
        self._families, self._networks, self._limits, self._marks = families, networks, limits, marks
        self._charge_filtered = charge_filtered

    async def Generate(self, request: pb.GenerateRequest, _context: Context) -> Messages:
        """A job that ends with its stream, unless it is to be detached."""
        apply_policy(request, account.get())
        options = converters.to_options(request, request_id.get())
        rename(options.request_id)
        detached = options.detach_on_disconnect
        messages = self._detach(request, options.request_id) if detached else self._stream(request, options)
        async with contextlib.aclosing(messages):
            async for message in messages:
                yield message

    async def ListFamilies(self, _request: pb.ListFamiliesRequest, _context: Context) -> pb.ListFamiliesResponse:
        """Every family of families.toml."""
        families = [self._family(family) for family in self._families]
        return pb.ListFamiliesResponse(families=families, marks=self._marks)

    def _family(self, family: Family) -> pb.Family:
        digests, roles = self._networks.digests(family.name), family.networks.roles
        own = [digest for role, digest in digests.items() if role in roles]
        models = dict.fromkeys(own)  # once, also where a model has two roles
        return converters.to_family(family, models, ready=self._networks.is_ready(family.name))

    async def _stream(self, request: pb.GenerateRequest, options: JobOptions) -> Messages:
        params = converters.to_params(request, self._limits)
        caller, job_id = account.get(), new_job_id()
        async with self._leases.hold(caller, job_id) as lease:
            job = await self._queue.submit(caller, params, options, job_id)
            total, is_shown = 0, False
            try:
                async with contextlib.aclosing(job.watch()) as events:
                    async for number, event in events:
                        if isinstance(event, Progress):
                            total = event.total
                        if isinstance(event, Preview) and 2 * event.step >= total:
                            is_shown = True
                        if isinstance(event, Artifact):  # paid before it is sent
                            await lease.charge(job.task.value, job.family)
                        for message in converters.from_event(job_id, options.request_id, number, event):
                            yield message
            except (asyncio.CancelledError, GeneratorExit, ImagegenError) as error:
                hung_up = not isinstance(error, ImagegenError)
                was_filtered = self._charge_filtered and isinstance(error, FilteredError)
                if was_filtered:
                    await lease.charge(job.task.value, job.family)
                elif is_shown and not lease.is_charged and (hung_up or ended_by_client(error)):
                    await lease.charge(job.task.value, job.family)  # the picture was seen
                raise
            finally:  # also when the client has disconnected
                self._queue.cancel(job)

    async def _detach(self, request: pb.GenerateRequest, name: str) -> Messages:
        asked = jobs_pb2.CreateJobRequest(request=request)
        order = await asyncio.to_thread(converters.to_job_request, asked, self._limits, name)
        caller = account.get()
        record = await self._jobs.submit(caller, order)
        inline = order.params.output.delivery is Delivery.INLINE
        async with contextlib.aclosing(self._jobs.follow(record)) as events:
            async for number, event in events:
                sent = event
                if inline and isinstance(event, Artifact):
                    sent = replace(event, data=await self._jobs.load(caller, record.id), uri=None)
                for message in converters.from_event(record.id, record.request_id, number, sent):
                    yield message
