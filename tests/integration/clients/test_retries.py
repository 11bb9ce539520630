"""What breaks between client and server: the client asks again, and one picture comes of it."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

import imagegen_client as ig
from imagegen.v1 import generation_pb2 as pb
from imagegen.v1 import jobs_pb2
from imagegen_client import AsyncClient, Client, calls
from orchestrator.errors import NotEnoughCreditsError, QueueFullError
from tests.contract.rest_fake import JOB, KEY, FakeJobs, finished, in_state
from tests.contract.rest_stack import grpc_server

PICTURE = b"picture"
GONE = (grpc.StatusCode.UNAVAILABLE, "nobody is here")


class LosesAnswers(FakeJobs):
    """Takes requests, loses some answers of CreateJob and interrupts some results; ends at that watch."""

    def __init__(self) -> None:
        super().__init__()
        self.loses, self.tears, self.ends_at = 0, 0, 0
        self.keys: list[str] = []
        self.script.files["name.png"] = ("image/png", [PICTURE[:3], PICTURE[3:]])

    async def CreateJob(self, request: jobs_pb2.CreateJobRequest, context: Any) -> jobs_pb2.Job:  # noqa: N802
        job = await super().CreateJob(request, context)
        self.keys.append(request.request.request_id)
        if self.loses:
            self.loses -= 1
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the connection broke")
        return job

    async def WatchJob(  # noqa: N802
        self, request: jobs_pb2.WatchJobRequest, context: Any
    ) -> AsyncIterator[pb.GenerateEvent]:
        if len(self.script.asked_after) + 1 == self.ends_at:
            self.script.ended = finished()
        async for event in super().WatchJob(request, context):
            yield event

    async def ReadResult(  # noqa: N802
        self, _: jobs_pb2.ReadResultRequest, __: Any
    ) -> AsyncIterator[jobs_pb2.ReadResultResponse]:
        yield jobs_pb2.ReadResultResponse(data=PICTURE[:3], sha256=hashlib.sha256(PICTURE).digest())
        if self.tears:
            self.tears -= 1
            return
        yield jobs_pb2.ReadResultResponse(data=PICTURE[3:])


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[LosesAnswers, str]]:
    """A server that loses answers, and its address."""
    jobs = LosesAnswers()
    async with grpc_server(jobs) as (port, _):
        yield jobs, f"127.0.0.1:{port}"


@pytest.mark.parametrize("kind", ["synchronous", "asyncio"])
async def test_a_lost_answer_is_not_a_second_picture(kind: str) -> None:
    """Three times the answer is lost; the key is the same each time. A torn picture is read again."""
    async with serving() as (jobs, address):
        jobs.loses, jobs.tears = 3, 1
        if kind == "synchronous":
            with Client(address, KEY) as client:
                picture = await asyncio.to_thread(client.generate, "apple", family="realistic")
        else:
            async with AsyncClient(address, KEY) as asynchronous:
                picture = await asynchronous.generate("apple", family="realistic")
    assert picture.data == PICTURE
    assert len(jobs.keys) == 4
    assert len(set(jobs.keys)) == 1
    assert jobs.keys[0]


async def test_two_calls_are_two_pictures() -> None:
    async with serving() as (jobs, address), AsyncClient(address, KEY) as client:
        for _ in range(2):
            await client.generate("apple")
    assert len(set(jobs.keys)) == 2


async def test_a_watch_that_breaks_goes_on_where_it_was() -> None:
    """Events are not events twice."""
    async with serving() as (jobs, address), AsyncClient(address, KEY) as client:
        progress = [pb.Progress(stage=pb.STAGE_DENOISE, step=step, total=3) for step in (1, 2, 3)]
        jobs.script.events = [pb.GenerateEvent(sequence=n, progress=each) for n, each in enumerate(progress, 2)]
        jobs.script.breaks = 2
        jobs.script.ended, jobs.ends_at = None, 3  # it runs while its stream breaks
        job = await client.submit("apple")
        events = [event async for event in job.watch()]
    assert [event.step for event in events if isinstance(event, ig.Progress)] == [1, 2, 3]
    assert jobs.script.asked_after == [0, 1, 2]


async def test_it_comes_back_when_the_server_says() -> None:
    """RetryInfo is obeyed; without it a limit is not tried again."""
    async with serving() as (jobs, address), AsyncClient(address, KEY) as client:
        jobs.script.refusal, jobs.script.refusals_left = QueueFullError("full", retry_after=0.3), 2
        await client.generate("apple")
        assert jobs.script.calls.count("CreateJob") == 3
        jobs.script.refusal, jobs.script.refusals_left = QueueFullError("full", retry_after=0.3), None
        async with AsyncClient(address, KEY, retry_seconds=0) as impatient:
            with pytest.raises(ig.QueueFullError) as caught:
                await impatient.generate("apple")
        assert calls.passing(caught.value) == pytest.approx(0.3)
        jobs.script.refusal, jobs.script.refusals_left = NotEnoughCreditsError("no credits"), None
        before = len(jobs.script.calls)
        with pytest.raises(ig.NotEnoughCreditsError):
            await client.generate("apple")
        assert len(jobs.script.calls) == before + 1


async def test_a_job_that_fails_because_nobody_is_there_is_not_waited_for() -> None:
    """Its stream ends with UNAVAILABLE as one that broke does: its state distinguishes them."""
    async with serving() as (jobs, address), AsyncClient(address, KEY) as client:
        jobs.script.ended = in_state(
            jobs_pb2.JOB_STATE_FAILED, grpc.StatusCode.UNAVAILABLE.value[0], "Triton is unreachable"
        )
        with pytest.raises(ig.UnavailableError, match="Triton is unreachable"):
            await client.generate("apple")


async def test_an_error_without_details_is_an_error() -> None:
    async with serving() as (jobs, address), AsyncClient(address, KEY, retry_seconds=0) as client:
        jobs.script.refusal = GONE
        with pytest.raises(ig.UnavailableError) as caught:
            await client.job(JOB)
        assert (caught.value.reason, caught.value.violations, caught.value.retry_after) == ("", (), None)
