"""One job: what watchers see, early, late and slow ones."""

import asyncio

import pytest

from orchestrator.diffusion.stages import Stage
from orchestrator.errors import CancelledByClientError, EngineFaultError, ImagegenError
from orchestrator.generation.events import Artifact, Event, Preview, Progress, Queued, Started
from orchestrator.generation.job import WATCHER_BACKLOG, Job, JobState, new_job_id
from orchestrator.params import ImageFormat, SamplerName
from tests.unit.orchestrator.world import events

ARTIFACT = Artifact(
    data=b"png",
    uri=None,
    file_size=3,
    format=ImageFormat.PNG,
    quality=None,
    width=64,
    height=64,
    seed=1,
    family="small",
    sampler=SamplerName.DDIM,
    steps=2,
    models=(),
    timings=(),
)


def step(number: int) -> Progress:
    return Progress(Stage.DENOISE, number, 1000)


def publish(job: Job, *published: Event) -> None:
    for event in published:
        job.publish(event)


async def collect(job: Job, after_sequence: int = 0) -> list[tuple[int, Event]]:
    return [item async for item in job.watch(after_sequence)]


async def settle() -> None:
    """Let every task go on until it waits."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_watcher_sees_every_event_in_order(job: Job) -> None:
    seen = asyncio.create_task(collect(job))
    await settle()
    happened: list[Event] = [Queued(1, 2.0), Queued(0, 1.0), Started(1, 32, 32, 0), step(1), Preview(b"j", 1), step(2)]
    for event in happened:
        job.publish(event)
        await settle()
    job.succeed(ARTIFACT)
    assert await seen == list(enumerate([*happened, ARTIFACT], 1))


async def test_a_late_watcher_sees_the_newest_of_each_kind(job: Job) -> None:
    publish(job, Queued(1, 2.0), Queued(0, 1.0))
    job.start()
    publish(job, Started(1, 32, 32, 0), step(1), Preview(b"a", 1), step(2), step(3))
    publish(job, Preview(b"b", 3), step(4))
    job.succeed(ARTIFACT)
    assert await collect(job) == [
        (3, Started(1, 32, 32, 0)),
        (8, Preview(b"b", 3)),
        (9, step(4)),
        (10, ARTIFACT),
    ]


async def test_a_late_watcher_of_a_waiting_job_sees_its_position(job: Job) -> None:
    publish(job, Queued(5, 9.0), Queued(4, 8.0))
    seen = asyncio.create_task(collect(job))
    await settle()
    job.succeed(ARTIFACT)
    assert (await seen)[0] == (2, Queued(4, 8.0))


@pytest.mark.parametrize("after", range(6))
async def test_after_sequence_leaves_out_what_is_known(job: Job, after: int) -> None:
    publish(job, Queued(0, 0.0))
    job.start()
    publish(job, Started(1, 32, 32, 0), step(1))
    job.succeed(ARTIFACT)
    assert [number for number, _ in await collect(job, after)] == [n for n in (2, 3, 4) if n > after]


async def test_watchers_do_not_disturb_each_other(job: Job) -> None:
    first = asyncio.create_task(collect(job))
    await settle()
    publish(job, Started(1, 32, 32, 0), step(1))
    second = asyncio.create_task(collect(job, 1))
    await settle()
    second_gone = asyncio.create_task(collect(job))
    await settle()
    second_gone.cancel()
    await settle()
    job.publish(step(2))
    job.succeed(ARTIFACT)
    assert [number for number, _ in await first] == [1, 2, 3, 4]
    assert [number for number, _ in await second] == [2, 3, 4]
    assert job._watchers == set()


async def test_a_slow_watcher_loses_the_oldest_and_never_the_artifact(job: Job) -> None:
    watcher = job.watch()
    job.publish(Started(1, 32, 32, 0))
    assert await anext(watcher) == (1, Started(1, 32, 32, 0))
    count = 3 * WATCHER_BACKLOG
    publish(job, *map(step, range(count)))
    job.succeed(ARTIFACT)
    rest = [item async for item in watcher]
    assert len(rest) == WATCHER_BACKLOG
    assert rest[-1] == (count + 2, ARTIFACT)
    assert [number for number, _ in rest] == list(range(count + 3 - WATCHER_BACKLOG, count + 3))


async def test_the_error_comes_after_the_events(job: Job) -> None:
    seen: list[Event] = []

    async def watch() -> None:
        async for _, event in job.watch():
            seen.append(event)  # kept also when the watch ends with an error

    watching = asyncio.create_task(watch())
    await settle()
    publish(job, Started(1, 32, 32, 0), step(1))
    job.fail(EngineFaultError("broken"))
    with pytest.raises(EngineFaultError, match="broken"):
        await watching
    assert seen == [Started(1, 32, 32, 0), step(1)]
    with pytest.raises(EngineFaultError, match="broken"):
        await collect(job)


@pytest.mark.parametrize(
    ("error", "state"),
    [(CancelledByClientError("x"), JobState.CANCELLED), (EngineFaultError("x"), JobState.FAILED)],
)
def test_states(job: Job, error: ImagegenError, state: JobState) -> None:
    assert (job.state, job.is_ended, job.seconds) == (JobState.QUEUED, False, None)
    job.start()
    assert (job.state, job.is_ended) == (JobState.RUNNING, False)
    job.fail(error)
    assert (job.state, job.is_ended) == (state, True)
    assert job.seconds is not None
    assert job.seconds >= 0


async def test_a_failed_job_holds_no_frames(job: Job) -> None:
    """Tracebacks and causes keep arrays alive; each watcher would add its own."""

    def fail() -> None:
        try:
            raise ValueError("cause")  # noqa: TRY301
        except ValueError as error:
            raise EngineFaultError("broken") from error

    try:
        fail()
    except EngineFaultError as error:
        job.fail(error)
    assert job.error is not None
    assert (job.error.__traceback__, job.error.__cause__, job.error.__context__) == (None, None, None)
    depths = []
    for _ in range(3):
        try:
            await collect(job)
        except EngineFaultError as error:
            depths.append(depth(error))
    assert len(set(depths)) == 1


def depth(error: BaseException) -> int:
    count, trace = 0, error.__traceback__
    while trace is not None:
        count, trace = count + 1, trace.tb_next
    return count


async def test_bytes_that_are_nowhere_else_are_kept(job: Job) -> None:
    job.succeed(ARTIFACT)
    assert job.artifact is ARTIFACT
    assert await events(job) == [ARTIFACT]


async def test_work_that_ends_is_answered(job: Job) -> None:
    async def work() -> int:
        await asyncio.sleep(0)
        return 7

    assert await job.unless_stopped(work()) == 7


async def test_work_that_fails_says_so(job: Job) -> None:
    async def work() -> None:
        raise EngineFaultError("broken")

    with pytest.raises(EngineFaultError, match="broken"):
        await job.unless_stopped(work())


@pytest.mark.parametrize("when", ["before", "while it waits"])
async def test_work_is_broken_off_when_the_job_stops(job: Job, when: str) -> None:
    ended: list[str] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("work")

    if when == "before":
        job.stop(CancelledByClientError("cancelled"))
    running = asyncio.create_task(job.unless_stopped(work()))
    await settle()
    job.stop(CancelledByClientError("cancelled"))
    async with asyncio.timeout(5):
        with pytest.raises(CancelledByClientError):
            await running
    assert ended in ([], ["work"])
    assert len(asyncio.all_tasks()) == 1


def test_ids_cannot_be_guessed() -> None:
    one, other = new_job_id(), new_job_id()
    assert len(one) == len(other) == 22
    assert one != other
