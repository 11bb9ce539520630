"""The orchestrator, as the gateway calls it: channel, deadlines, metadata. The only file that touches stubs.

Retries follow proto/imagegen/service_config.json, which any client can use. It retries UNAVAILABLE only. CreateJob may
run twice only with a request_id: all of this gateway have one, and are retried here, for longer than gRPC would.
"""

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import grpc
import stamina
from grpc_health.v1 import health_pb2

from common import tracing
from common.certificates import Reloading
from gateway.config import Address
from gateway.upstream.channel import RotatingChannel
from imagegen.v1 import (
    accounts_pb2,
    accounts_pb2_grpc,
    generation_pb2_grpc,
    jobs_pb2,
    jobs_pb2_grpc,
    provenance_pb2,
    provenance_pb2_grpc,
    webhooks_pb2,
    webhooks_pb2_grpc,
)
from imagegen.v1 import generation_pb2 as pb

HealthCheck = grpc.aio.UnaryUnaryMultiCallable[health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse]

_GATEWAY = Path(__file__).resolve().parents[1]
SERVICE_CONFIG = next(
    path
    for path in (_GATEWAY / "service_config.json", _GATEWAY.parent / "proto" / "imagegen" / "service_config.json")
    if path.is_file()  # an installed wheel has its own; a clone has the schema's
)

CALL_SECONDS = 10.0  # a call that only looks something up, or queues something
HEALTH_SECONDS = 2.0
VERIFY_SECONDS = 60.0  # reads and decodes a picture
RESULT_SECONDS = 120.0  # a picture, to a slow client


@dataclass(frozen=True, slots=True)
class Caller:
    """On whose behalf a call is sent.

    Attributes:
        api_key: as the client sent it; the orchestrator checks it. None where no key is needed.
        request_id: what logs know the request by.
    """

    api_key: str | None
    request_id: str

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What goes along with each call."""
        key = () if self.api_key is None else (("x-api-key", self.api_key),)
        return (*key, ("x-request-id", self.request_id), *tracing.headers().items())


def open_channel(address: Address, credentials: Reloading[grpc.ChannelCredentials] | None = None) -> RotatingChannel:
    """Open a channel. It connects by itself, and again when the server comes back. Needs a running event loop."""
    options = (
        ("grpc.service_config", _service_config()),
        ("grpc.use_local_subchannel_pool", 1),  # each channel has connections of its own
        # What drains still answers about jobs; where there are several, Kubernetes takes it from the list.
        ("grpc.inhibit_health_checking", 1),
        # gRPC waits up to two minutes before it tries again; a server that restarts is back in seconds.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 2_000),
        # Finds a peer that vanished without a word while a call waits for it. The orchestrator allows pings every 10 s;
        # a server of gRPC's defaults would disconnect them.
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 0),
        # Answers are small: pictures come in chunks of 64 KiB.
        ("grpc.max_receive_message_length", 4 * 1024 * 1024),
    )

    def connect(newest: grpc.ChannelCredentials | None) -> grpc.aio.Channel:
        if newest is None:
            return grpc.aio.insecure_channel(str(address), options=options)
        return grpc.aio.secure_channel(str(address), newest, options=options)

    return RotatingChannel(credentials, connect)


def _service_config() -> str:
    """The service config for clients, without the method that is retried here."""
    config = json.loads(SERVICE_CONFIG.read_text(encoding="utf-8"))
    created_here = {"service": "imagegen.v1.JobService", "method": "CreateJob"}
    config["methodConfig"] = [method for method in config["methodConfig"] if created_here not in method["name"]]
    return json.dumps(config)


class Orchestrator:
    """The methods that REST needs. Every one raises grpc.aio.AioRpcError when the call fails."""

    def __init__(self, rotating: RotatingChannel) -> None:
        channel = cast("grpc.aio.Channel", rotating)  # it has what stubs use of one
        self._jobs = jobs_pb2_grpc.JobServiceStub(channel)
        self._generation = generation_pb2_grpc.GenerationServiceStub(channel)
        self._provenance = provenance_pb2_grpc.ProvenanceServiceStub(channel)
        self._accounts = accounts_pb2_grpc.AccountServiceStub(channel)
        self._webhooks = webhooks_pb2_grpc.WebhookServiceStub(channel)
        # By hand: the published types of HealthStub have no methods.
        self._check: HealthCheck = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )

    async def create(self, message: jobs_pb2.CreateJobRequest, caller: Caller, seconds: float) -> jobs_pb2.Job:
        """Queue a request that has a request_id; sent again, for up to `seconds`, while no server answers."""
        async for attempt in _retrying(seconds):
            with attempt:
                return await self._jobs.CreateJob(message, timeout=CALL_SECONDS, metadata=caller.metadata)
        raise AssertionError("the last attempt raises")

    async def estimate(self, message: jobs_pb2.EstimateJobRequest, caller: Caller) -> jobs_pb2.JobEstimate:
        """What a request would cost, and how long it would take."""
        return await self._jobs.EstimateJob(message, timeout=CALL_SECONDS, metadata=caller.metadata)

    async def account(self, caller: Caller, seconds: float = 0.0) -> accounts_pb2.Account:
        """The account of a key; asked again, for up to `seconds`, while no server answers."""
        request = accounts_pb2.GetAccountRequest()
        async for attempt in _retrying(seconds):
            with attempt:
                return await self._accounts.GetAccount(request, timeout=CALL_SECONDS, metadata=caller.metadata)
        raise AssertionError("the last attempt raises")

    async def preset(self, name: str, caller: Caller) -> str | None:
        """The JSON of a preset of the caller's account; None if it has none of that name."""
        request = accounts_pb2.GetPresetRequest(name=name)
        try:
            found = await self._accounts.GetPreset(request, timeout=CALL_SECONDS, metadata=caller.metadata)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                return None
            raise
        return str(found.document)

    async def get(self, job_id: str, caller: Caller) -> jobs_pb2.Job:
        """Return the state of a job."""
        message = jobs_pb2.GetJobRequest(job_id=job_id)
        return await self._jobs.GetJob(message, timeout=CALL_SECONDS, metadata=caller.metadata)

    async def list_jobs(self, message: jobs_pb2.ListJobsRequest, caller: Caller) -> jobs_pb2.ListJobsResponse:
        """A page of the account's jobs."""
        return await self._jobs.ListJobs(message, timeout=CALL_SECONDS, metadata=caller.metadata)

    async def cancel(self, job_id: str, caller: Caller) -> jobs_pb2.Job:
        """Stop a job."""
        message = jobs_pb2.CancelJobRequest(job_id=job_id)
        return await self._jobs.CancelJob(message, timeout=CALL_SECONDS, metadata=caller.metadata)

    async def deliveries(
        self, message: webhooks_pb2.ListDeliveriesRequest, caller: Caller
    ) -> webhooks_pb2.ListDeliveriesResponse:
        """List what became of the account's webhooks."""
        return await self._webhooks.ListDeliveries(message, timeout=CALL_SECONDS, metadata=caller.metadata)

    async def resend(self, delivery_id: str, caller: Caller) -> webhooks_pb2.DeliveryRecord:
        """Send a webhook again."""
        message = webhooks_pb2.ResendDeliveryRequest(delivery_id=delivery_id)
        return await self._webhooks.ResendDelivery(message, timeout=CALL_SECONDS, metadata=caller.metadata)

    async def families(self, caller: Caller) -> pb.ListFamiliesResponse:
        """List the families, the default first, and how pictures are marked."""
        message = pb.ListFamiliesRequest()
        return await self._generation.ListFamilies(message, timeout=CALL_SECONDS, metadata=caller.metadata)

    async def verify(self, image: pb.ImageSource, caller: Caller) -> provenance_pb2.VerifyResponse:
        """Read the marks of a picture."""
        message = provenance_pb2.VerifyRequest(image=image)
        return await self._provenance.Verify(message, timeout=VERIFY_SECONDS, metadata=caller.metadata)

    async def delete(self, job_id: str, caller: Caller) -> jobs_pb2.Job:
        """Remove a job's picture."""
        message = jobs_pb2.DeleteJobRequest(job_id=job_id)
        return await self._jobs.DeleteJob(message, timeout=CALL_SECONDS, metadata=caller.metadata)

    async def until_ended(self, job_id: str, caller: Caller, seconds: float) -> None:
        """Watch a job until its stream of events ends, at most `seconds`. Cancelling this ends the call."""
        async with aclosing(self.watch(job_id, 0, caller, seconds)) as events:
            async for _ in events:
                pass

    async def watch(
        self, job_id: str, after: int, caller: Caller, seconds: float
    ) -> AsyncGenerator[pb.GenerateEvent, None]:
        """Give the events of a job after a number, at most `seconds` long. Closing this ends the call."""
        message = jobs_pb2.WatchJobRequest(job_id=job_id, after_sequence=after)
        call = self._jobs.WatchJob(message, timeout=seconds, metadata=caller.metadata)
        try:
            async for event in call:
                yield event
        finally:
            call.cancel()

    async def read(self, name: str, caller: Caller) -> AsyncGenerator[jobs_pb2.ReadResultResponse, None]:
        """Read a picture. The first part carries its type and size. Closing this ends the call."""
        message = jobs_pb2.ReadResultRequest(name=name)
        call = self._jobs.ReadResult(message, timeout=RESULT_SECONDS, metadata=caller.metadata)
        try:
            async for part in call:
                yield part
        finally:
            call.cancel()

    async def thumbnail(self, job_id: str, caller: Caller) -> jobs_pb2.ReadThumbnailResponse:
        """Read the small copy of a job's picture."""
        message = jobs_pb2.ReadThumbnailRequest(job_id=job_id)
        return await self._jobs.ReadThumbnail(message, timeout=VERIFY_SECONDS, metadata=caller.metadata)

    async def serving(self) -> bool:
        """Whether the orchestrator says that it serves."""
        answer = await self._check(health_pb2.HealthCheckRequest(), timeout=HEALTH_SECONDS)
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def _retrying(seconds: float) -> AsyncIterator[stamina.Attempt]:
    return stamina.retry_context(
        on=_is_unreachable,
        attempts=None if seconds else 1,
        timeout=seconds or None,
        wait_initial=0.1,
        wait_max=1.0,
        wait_jitter=0.2,
    )


def _is_unreachable(error: Exception) -> bool:
    """Whether nobody has answered, or only that its database is unreachable: another try may reach one that works."""
    return isinstance(error, grpc.aio.AioRpcError) and error.code() is grpc.StatusCode.UNAVAILABLE
