"""Clients as they ought to be: each asks for one job, by one key, until it is acknowledged; then until it has ended."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field

import grpc
import httpx

from imagegen.v1 import accounts_pb2, accounts_pb2_grpc, jobs_pb2, jobs_pb2_grpc
from imagegen.v1 import generation_pb2 as pb
from local.settings import Settings

SIDE, OTHER_SIDE = 96, 64
"""Pixels of the pictures that are asked for."""
CALL_SECONDS = 15.0
PAUSE_SECONDS = 0.3
_AGAIN = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}


@dataclass
class Asked:
    """One job from its client's side.

    Attributes:
        key: its idempotency key.
        over: "grpc" or "rest".
        steps: of denoising.
        hook: where it reports its end; empty for nowhere.
        job_ids: that were answered to the key: one, however often it was asked.
        tries: until it was acknowledged.
    """

    key: str
    over: str
    hook: str
    steps: int
    job_ids: set[str] = field(default_factory=set)
    tries: int = 0

    @property
    def job_id(self) -> str:
        """Its id."""
        (job_id,) = self.job_ids
        return job_id


Ask = Callable[[Asked], Awaitable[str | None]]
"""Asks for a job once; its id, or None where it is to be asked again."""


class Clients:
    """Of one stack, by one key."""

    def __init__(self, channels: list[grpc.aio.Channel], http: httpx.AsyncClient, api_key: str, family: str) -> None:
        self._stubs = [jobs_pb2_grpc.JobServiceStub(channel) for channel in channels]
        self._accounts = [accounts_pb2_grpc.AccountServiceStub(channel) for channel in channels]
        self.metadata = (("x-api-key", api_key),)
        self._http, self._family = http, family

    @property
    def jobs(self) -> "jobs_pb2_grpc.JobServiceAsyncStub":
        """Of one server or the other, by chance."""
        return random.choice(self._stubs)  # noqa: S311 - chance is the point

    @classmethod
    @asynccontextmanager
    async def of(cls, settings: Settings, addresses: list[str], api_key: str, family: str) -> AsyncIterator["Clients"]:
        """Connect."""
        options = [("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 1000)]
        async with AsyncExitStack() as stack:
            channels = [
                await stack.enter_async_context(grpc.aio.insecure_channel(address, options=options))
                for address in addresses
            ]
            http = httpx.AsyncClient(base_url=settings.rest_url, headers={"X-API-KEY": api_key}, timeout=CALL_SECONDS)
            yield cls(channels, await stack.enter_async_context(http), api_key, family)

    async def answer(self) -> bool:
        """Whether all servers answer a call that needs the database."""
        try:
            for stub in self._accounts:
                request = accounts_pb2.GetAccountRequest()
                await stub.GetAccount(request, metadata=self.metadata, timeout=CALL_SECONDS)
        except grpc.aio.AioRpcError:
            return False
        return True

    async def live(self, asked: Asked) -> None:
        """See one job through: acknowledged, sent once more as a client does that missed the answer, ended."""
        ask = self._ask_grpc if asked.over == "grpc" else self._ask_rest
        await self._until_answered(asked, ask)
        if random.random() < 0.3:  # noqa: S311 - chance is the point
            await self._until_answered(asked, ask)
        while not await self._has_ended(asked):  # noqa: ASYNC110 - of another process
            await asyncio.sleep(PAUSE_SECONDS)

    async def get(self, job_id: str) -> jobs_pb2.Job:
        """The state of a job, by a stack that is up."""
        return await self.jobs.GetJob(jobs_pb2.GetJobRequest(job_id=job_id), metadata=self.metadata)

    async def read(self, name: str) -> tuple[bytes, bytes]:
        """A picture's bytes, and their SHA-256 as it is reported."""
        parts = [part async for part in self.jobs.ReadResult(jobs_pb2.ReadResultRequest(name=name))]
        return b"".join(part.data for part in parts), parts[0].sha256

    async def _until_answered(self, asked: Asked, ask: Ask) -> None:
        while True:
            asked.tries += 1
            job_id = await ask(asked)
            if job_id is not None:
                asked.job_ids.add(job_id)
                return
            await asyncio.sleep(PAUSE_SECONDS)

    async def _ask_grpc(self, asked: Asked) -> str | None:
        request = pb.GenerateRequest(
            text_to_image=pb.TextToImage(),
            prompt="a red apple",
            family=self._family,
            size=pb.Size(width=SIDE, height=OTHER_SIDE),
            steps=asked.steps,
            request_id=asked.key,
        )
        message = jobs_pb2.CreateJobRequest(request=request)
        if asked.hook:
            message.webhook.url = asked.hook
        try:
            job = await self.jobs.CreateJob(message, metadata=self.metadata, timeout=CALL_SECONDS)
        except grpc.aio.AioRpcError as error:
            if error.code() not in _AGAIN:
                raise
            return None
        return job.job_id

    async def _ask_rest(self, asked: Asked) -> str | None:
        body = {
            "width": SIDE,
            "height": OTHER_SIDE,
            "background": {"generate": {"description": "a red apple", "model_type": self._family}},
            "webhooks": {"complete": asked.hook},
            "imagegen": {"steps": asked.steps},
        }
        try:
            answer = await self._http.post("/rest_api/process", json=body, headers={"Idempotency-Key": asked.key})
        except httpx.TransportError:
            return None
        if answer.status_code >= 500 or answer.status_code == 429:
            return None
        answer.raise_for_status()
        return str(answer.json()["job"])

    async def _has_ended(self, asked: Asked) -> bool:
        """Whether a job has, as far as that can be seen now: over REST by asking, over gRPC by watching."""
        if asked.over == "rest":
            with suppress(httpx.TransportError):
                answer = await self._http.get(f"/rest_api/result/{asked.job_id}")
                words = answer.json()
                return words.get("status") in {"complete", "failed"}
            return False
        try:
            request = jobs_pb2.WatchJobRequest(job_id=asked.job_id)
            async for _ in self.jobs.WatchJob(request, metadata=self.metadata):
                pass
        except grpc.aio.AioRpcError as error:
            return error.code() not in {*_AGAIN, grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL}
        return True


async def wait_for_all(lives: Iterable[asyncio.Task[None]], seconds: float) -> set[asyncio.Task[None]]:
    """Wait until all have ended, or none has for `seconds`; returns those that have not.

    How long all of them take says how fast the machine is; that none ends any more says that something is stuck.
    """
    pending = set(lives)
    while pending:
        done, pending = await asyncio.wait(pending, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if not done:
            break
    return pending
