"""The gRPC server behind the gateway, its jobs scripted by the test.

What the fake refuses, it refuses with the orchestrator's own ranges and error table, so that the two tables are held
together: error tree to gRPC there, gRPC to HTTP here.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import grpc
from grpc_status import rpc_status

from imagegen.v1 import (
    accounts_pb2,
    accounts_pb2_grpc,
    generation_pb2_grpc,
    jobs_pb2,
    jobs_pb2_grpc,
    webhooks_pb2,
    webhooks_pb2_grpc,
)
from imagegen.v1 import generation_pb2 as pb
from orchestrator.api import converters, status
from orchestrator.errors import (
    ApiKeyMissingError,
    ApiKeyUnknownError,
    ImagegenError,
    InvalidRequestError,
    NotFoundError,
    PreconditionError,
    Violation,
)
from orchestrator.params import Limits

KEY = "a-known-key"
MAX_PIXELS = 2048 * 2048
JOB = "J" * 22
Context = grpc.aio.ServicerContext[Any, Any]


def finished(**more: Any) -> jobs_pb2.Job:
    """A job with a picture."""
    artifact = pb.Artifact(
        uri="https://pictures.example/results/name.png",
        file_size=1234,
        format=pb.IMAGE_FORMAT_PNG,
        width=2048,
        height=1024,
        seed=2**53 - 1,
        request_id="r-1",
        family="realistic",
        sampler=pb.SAMPLER_EULER,
        steps=20,
        timings=[
            pb.StageTiming(stage=pb.STAGE_ENCODE, seconds=0.25, calls=1),
            pb.StageTiming(stage=pb.STAGE_DENOISE, seconds=1.5, calls=20),
        ],
    )
    return jobs_pb2.Job(job_id=JOB, state=jobs_pb2.JOB_STATE_SUCCEEDED, artifact=artifact, **more)


def waiting(position: int = 2) -> jobs_pb2.Job:
    """A job that waits for its turn."""
    return jobs_pb2.Job(job_id=JOB, state=jobs_pb2.JOB_STATE_QUEUED, position=position)


def in_state(
    state: jobs_pb2.JobState.ValueType, code: int = 0, message: str = "", *violations: Violation
) -> jobs_pb2.Job:
    """A job in a state, with an error if it has a code."""
    wrong = map(status.to_violation, violations)
    error = jobs_pb2.JobError(code=code, message=message, violations=wrong) if code else None
    return jobs_pb2.Job(job_id=JOB, state=state, error=error)


@dataclass
class Script:
    """What the fake does, and what it has seen.

    Attributes:
        created: the job as CreateJob answers it.
        ended: the job as it is when its stream has ended; None as long as it does not end.
        refusal: every method with a key ends with it: an error of the tree, or a bare gRPC status.
        refusals_left: how often it does so before it goes on; None: always.
        files: pictures by name: media type and chunks.
        thumbnail: of the job; None: it has none.
        requests: of CreateJob.
        webhooks: that came with them.
        notes: that came with the newest of them, and go along with its job.
        account: as GetAccount answers it.
        presets: of the account, by name: their JSON.
        metadata: of the newest call.
        calls: methods with a key that were called, in order.
        lookups: how often GetAccount was called, which is not among `calls`: the gateway remembers accounts.
        events: what WatchJob sends after the first one, numbered from 2.
        breaks: how many streams of WatchJob break before their last event.
        asked_after: numbers that watchers came with.
        families: as ListFamilies answers.
        watched: set when somebody watches.
        hung_up: set when a watcher has gone before the end.
    """

    created: jobs_pb2.Job = field(default_factory=waiting)
    ended: jobs_pb2.Job | None = field(default_factory=finished)
    refusal: ImagegenError | tuple[grpc.StatusCode, str] | None = None
    refusals_left: int | None = None
    files: dict[str, tuple[str, list[bytes]]] = field(default_factory=dict)
    thumbnail: bytes | None = None
    requests: list[pb.GenerateRequest] = field(default_factory=list)
    webhooks: list[jobs_pb2.Webhook | None] = field(default_factory=list)
    notes: jobs_pb2.ClientNotes = field(default_factory=jobs_pb2.ClientNotes)
    account: accounts_pb2.Account = field(default_factory=accounts_pb2.Account)
    presets: dict[str, str] = field(default_factory=dict)
    metadata: dict[str, str | bytes] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    lookups: int = 0
    events: list[pb.GenerateEvent] = field(default_factory=list)
    breaks: int = 0
    asked_after: list[int] = field(default_factory=list)
    families: list[pb.Family] = field(default_factory=list)
    deliveries: list[webhooks_pb2.DeliveryRecord] = field(default_factory=list)
    delivery_pages: list[webhooks_pb2.ListDeliveriesRequest] = field(default_factory=list)
    watched: asyncio.Event = field(default_factory=asyncio.Event)
    hung_up: asyncio.Event = field(default_factory=asyncio.Event)


class FakeJobs(
    jobs_pb2_grpc.JobServiceServicer,
    accounts_pb2_grpc.AccountServiceServicer,
    generation_pb2_grpc.GenerationServiceServicer,
    webhooks_pb2_grpc.WebhookServiceServicer,
):
    """The services, following a script."""

    def __init__(self) -> None:
        self.script = Script()

    async def CreateJob(self, request: jobs_pb2.CreateJobRequest, context: Context) -> jobs_pb2.Job:  # noqa: N802
        await self._enter(context, "CreateJob")
        self.script.requests.append(request.request)
        self.script.webhooks.append(request.webhook if request.HasField("webhook") else None)
        try:
            if request.HasField("webhook"):
                converters.check_hook(request.webhook, allow_private=False)
            converters.to_params(request.request, Limits(max_pixels=MAX_PIXELS))
            converters.to_options(request.request, "drawn")
            if request.request.family not in {"", "realistic", "fantasy"}:
                raise InvalidRequestError(Violation("family", "is not one of realistic, fantasy"))
        except ImagegenError as error:
            await self._refuse(context, error)
        self.script.notes = request.notes
        return self._noted(self.script.created)

    def _noted(self, job: jobs_pb2.Job) -> jobs_pb2.Job:
        """The job with the notes of its client, as the orchestrator answers it."""
        found = jobs_pb2.Job()
        found.CopyFrom(job)
        found.notes.CopyFrom(self.script.notes)
        return found

    async def EstimateJob(self, _: jobs_pb2.EstimateJobRequest, context: Context) -> jobs_pb2.JobEstimate:  # noqa: N802
        await self._enter(context, "EstimateJob")
        return jobs_pb2.JobEstimate(credits=1, wait_seconds=0, run_seconds=1)

    async def GetJob(self, request: jobs_pb2.GetJobRequest, context: Context) -> jobs_pb2.Job:  # noqa: N802
        await self._enter(context, "GetJob")
        if request.job_id != JOB:
            await self._refuse(context, NotFoundError("no such job"))
        return self._noted(self.script.ended or self.script.created)

    async def ListJobs(  # noqa: N802
        self, _: jobs_pb2.ListJobsRequest, context: Context
    ) -> jobs_pb2.ListJobsResponse:
        await self._enter(context, "ListJobs")
        return jobs_pb2.ListJobsResponse(jobs=[self.script.created])

    async def WatchJob(  # noqa: N802
        self, request: jobs_pb2.WatchJobRequest, context: Context
    ) -> AsyncIterator[pb.GenerateEvent]:
        await self._enter(context, "WatchJob")
        script = self.script
        script.asked_after.append(request.after_sequence)
        script.watched.set()
        try:
            for event in [pb.GenerateEvent(sequence=1, queued=pb.Queued(job_id=JOB, position=2)), *script.events]:
                if event.sequence > request.after_sequence:
                    yield event
                    if script.breaks:
                        script.breaks -= 1
                        await context.abort(grpc.StatusCode.UNAVAILABLE, "the connection broke")
            if script.ended is None:
                await asyncio.Event().wait()
        except (asyncio.CancelledError, GeneratorExit):
            script.hung_up.set()
            raise
        if script.ended is not None and script.ended.state == jobs_pb2.JOB_STATE_FAILED:
            await context.abort(grpc.StatusCode.INTERNAL, "the job failed")

    async def CancelJob(self, request: jobs_pb2.CancelJobRequest, context: Context) -> jobs_pb2.Job:  # noqa: N802
        job = await self.GetJob(jobs_pb2.GetJobRequest(job_id=request.job_id), context)
        if self.script.ended is None:
            self.script.ended = in_state(jobs_pb2.JOB_STATE_CANCELLED)
            return self.script.ended
        return job

    async def DeleteJob(self, request: jobs_pb2.DeleteJobRequest, context: Context) -> jobs_pb2.Job:  # noqa: N802
        await self.GetJob(jobs_pb2.GetJobRequest(job_id=request.job_id), context)
        self.script.ended = in_state(jobs_pb2.JOB_STATE_DELETED)
        return self.script.ended

    async def Generate(self, _: pb.GenerateRequest, context: Context) -> AsyncIterator[pb.GenerateEvent]:  # noqa: N802
        """No path of the gateway calls it."""
        await self._refuse(context, NotFoundError("not here"))
        yield pb.GenerateEvent()

    async def ListFamilies(  # noqa: N802
        self, _: pb.ListFamiliesRequest, context: Context
    ) -> pb.ListFamiliesResponse:
        await self._enter(context, "ListFamilies")
        return pb.ListFamiliesResponse(families=self.script.families, marks=pb.Marks(xmp=True))

    async def ListDeliveries(  # noqa: N802
        self, request: webhooks_pb2.ListDeliveriesRequest, context: Context
    ) -> webhooks_pb2.ListDeliveriesResponse:
        await self._enter(context, "ListDeliveries")
        self.script.delivery_pages.append(request)
        return webhooks_pb2.ListDeliveriesResponse(deliveries=self.script.deliveries, next_page_token="next")  # noqa: S106 - of pages

    async def ResendDelivery(  # noqa: N802
        self, request: webhooks_pb2.ResendDeliveryRequest, context: Context
    ) -> webhooks_pb2.DeliveryRecord:
        await self._enter(context, "ResendDelivery")
        for each in self.script.deliveries:
            if each.delivery_id == request.delivery_id:
                return each
        await self._refuse(context, NotFoundError("no such delivery"))
        raise AssertionError("refused")

    async def GetAccount(self, _: accounts_pb2.GetAccountRequest, context: Context) -> accounts_pb2.Account:  # noqa: N802
        self.script.lookups += 1
        calls, left = self.script.calls.copy(), self.script.refusals_left
        if left is None or self.script.refusal is None:
            await self._enter(context, "GetAccount")
            self.script.calls = calls
        return self.script.account

    async def GetPreset(self, request: accounts_pb2.GetPresetRequest, context: Context) -> accounts_pb2.Preset:  # noqa: N802
        await self._enter(context, "GetPreset")
        if request.name not in self.script.presets:
            await self._refuse(context, NotFoundError("the account has no preset of that name"))
        return accounts_pb2.Preset(name=request.name, document=self.script.presets[request.name])

    async def ReadResult(  # noqa: N802
        self, request: jobs_pb2.ReadResultRequest, context: Context
    ) -> AsyncIterator[jobs_pb2.ReadResultResponse]:
        self.script.metadata = dict(context.invocation_metadata() or ())
        if request.name not in self.script.files:
            await self._refuse(context, NotFoundError("no such result"))
        media_type, chunks = self.script.files[request.name]
        size = sum(map(len, chunks))
        digest = hashlib.sha256(b"".join(chunks)).digest()
        yield jobs_pb2.ReadResultResponse(content_type=media_type, file_size=size, data=chunks[0], sha256=digest)
        for chunk in chunks[1:]:
            yield jobs_pb2.ReadResultResponse(data=chunk)

    async def ReadThumbnail(  # noqa: N802
        self, request: jobs_pb2.ReadThumbnailRequest, context: Context
    ) -> jobs_pb2.ReadThumbnailResponse:
        await self._enter(context, "ReadThumbnail")
        if request.job_id != JOB:
            await self._refuse(context, NotFoundError("no such job"))
        if self.script.thumbnail is None:
            await self._refuse(context, PreconditionError("the job has no picture"))
        return jobs_pb2.ReadThumbnailResponse(data=self.script.thumbnail, content_type="image/webp")

    async def _enter(self, context: Context, method: str) -> None:
        """What every method with a key does first."""
        self.script.calls.append(method)
        self.script.metadata = dict(context.invocation_metadata() or ())
        key = self.script.metadata.get("x-api-key")
        if key != KEY:
            await self._refuse(context, ApiKeyUnknownError("unknown key") if key else ApiKeyMissingError("no key"))
        if self.script.refusal is None or self.script.refusals_left == 0:
            return
        if self.script.refusals_left is not None:
            self.script.refusals_left -= 1
        if isinstance(self.script.refusal, tuple):
            await context.abort(*self.script.refusal)
        await self._refuse(context, self.script.refusal)

    async def _refuse(self, context: Context, error: ImagegenError) -> None:
        await context.abort_with_status(rpc_status.to_status(status.to_status(error, "r-1")))
