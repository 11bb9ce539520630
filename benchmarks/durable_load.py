"""The orchestrator under durable jobs: many idle watchers, jobs at a fixed rate, a Triton that answers at once.

Jobs arrive by the clock, whether or not those before them have ended (an open loop): what the service cannot keep up
with shows as a backlog that grows, not as clients that slow down. Each job is watched by a stream of its own to its
end. What is idle are watchers of jobs whose turn is set to tomorrow, by SQL, behind the service's back.
"""

import asyncio
import os
import resource
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import psycopg

from benchmarks.services import LoadStack
from benchmarks.workloads import PROMPT
from imagegen.v1 import generation_pb2 as pb
from imagegen.v1 import jobs_pb2, jobs_pb2_grpc

WINDOW_SECONDS = 5.0
"""Of a row of figures."""
SIDE = 64
"""Of the pictures, pixels: the smallest that there are."""
START_SECONDS = 60.0
CHANNELS = 8
"""Connections of the clients."""

_TOMORROW = "UPDATE imagegen.jobs SET not_before = now() + interval '1 day' WHERE id = ANY(%s)"
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked for: jobs per second, for how many seconds, next to how many idle watchers."""

    rate: float
    seconds: float
    watchers: int


@dataclass
class Window:
    """What was seen in WINDOW_SECONDS.

    Attributes:
        at: seconds from the first job to the window's end.
        created: wall time of each CreateJob, seconds.
        ended: from each CreateJob to the end of its watch, seconds.
        errors: calls that failed, by their status.
        backlog: jobs under way at the window's end.
        rss: memory of the orchestrator, MB.
        cpu: of the orchestrator, cores.
    """

    at: float = 0.0
    created: list[float] = field(default_factory=list)
    ended: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    backlog: int = 0
    rss: float = 0.0
    cpu: float = 0.0


class Clients:
    """All of them, over some connections."""

    def __init__(self, channels: Sequence[grpc.aio.Channel]) -> None:
        self._stubs = [jobs_pb2_grpc.JobServiceStub(channel) for channel in channels]
        self.window = Window()
        self.under_way = 0

    @classmethod
    @asynccontextmanager
    async def of(cls, address: str) -> AsyncIterator["Clients"]:
        """Connect."""
        own = [("grpc.use_local_subchannel_pool", 1)]  # else all would share one connection
        channels = [grpc.aio.insecure_channel(address, options=own) for _ in range(CHANNELS)]
        try:
            for channel in channels:
                await asyncio.wait_for(channel.channel_ready(), START_SECONDS)
            yield cls(channels)
        finally:
            for channel in channels:
                await channel.close()

    async def create(self, number: int) -> str:
        """Ask for the shortest job there is; its id."""
        request = pb.GenerateRequest(
            text_to_image=pb.TextToImage(),
            prompt=PROMPT,
            size=pb.Size(width=SIDE, height=SIDE),
            seed=abs(number),
            steps=1,
            guidance_scale=1.0,
            request_id=f"load-{number}",
        )
        job = await self._stub(number).CreateJob(jobs_pb2.CreateJobRequest(request=request))
        return job.job_id

    async def watch(self, number: int, job_id: str) -> None:
        """Watch a job to its end."""
        async for _ in self._stub(number).WatchJob(jobs_pb2.WatchJobRequest(job_id=job_id)):
            pass

    async def job(self, number: int) -> None:
        """One job from its creation to its end, measured."""
        start = time.perf_counter()
        self.under_way += 1
        try:
            job_id = await self.create(number)
            self.window.created.append(time.perf_counter() - start)
            await self.watch(number, job_id)
            self.window.ended.append(time.perf_counter() - start)
        except grpc.aio.AioRpcError as error:
            self.window.errors.append(error.code().name)
        finally:
            self.under_way -= 1

    def _stub(self, number: int) -> "jobs_pb2_grpc.JobServiceAsyncStub":
        return self._stubs[number % len(self._stubs)]


async def measure(stack: LoadStack, load: Load) -> list[Window]:
    """Bring the load; a window for each WINDOW_SECONDS."""
    async with Clients.of(stack.grpc_address) as clients:
        idle = await _idle(clients, stack.database_url, load.watchers)
        sending = asyncio.create_task(_send(clients, load))
        windows = [window async for window in _observe(clients, stack.orchestrator_pid, load.seconds)]
        await sending
        for watch in idle:
            watch.cancel()
        await asyncio.gather(*idle, return_exceptions=True)
        return windows


async def _idle(clients: Clients, database_url: str, count: int) -> list[asyncio.Task[None]]:
    """Watchers of jobs whose turn does not come."""
    job_ids = await asyncio.gather(*(clients.create(-1 - number) for number in range(count)))
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        await connection.execute(_TOMORROW, [list(job_ids)])
    return [asyncio.create_task(clients.watch(number, job_id)) for number, job_id in enumerate(job_ids)]


async def _send(clients: Clients, load: Load) -> None:
    """Jobs by the clock; returns when all have ended."""
    loop = asyncio.get_running_loop()
    begin = loop.time()
    async with asyncio.TaskGroup() as group:
        for number in range(int(load.rate * load.seconds)):
            await asyncio.sleep(max(0.0, begin + number / load.rate - loop.time()))
            group.create_task(clients.job(number))


async def _observe(clients: Clients, pid: int, seconds: float) -> AsyncIterator[Window]:
    loop = asyncio.get_running_loop()
    begin, before = loop.time(), _cpu(pid)
    for number in range(1, int(seconds / WINDOW_SECONDS) + 1):
        await asyncio.sleep(begin + number * WINDOW_SECONDS - loop.time())
        window, clients.window = clients.window, Window()
        now = _cpu(pid)
        window.at, window.backlog = number * WINDOW_SECONDS, clients.under_way
        window.rss, window.cpu = _rss(pid), (now - before) / WINDOW_SECONDS
        before = now
        yield window


def _rss(pid: int) -> float:
    """Resident memory, MB (proc(5), statm)."""
    return int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1]) * resource.getpagesize() / 1e6


def _cpu(pid: int) -> float:
    """CPU time so far, seconds (proc(5), stat)."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS
