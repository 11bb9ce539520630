"""How process_result waits: for the job, for the client to disconnect, for the gateway to stop, whichever is first."""

import asyncio
import contextlib
from collections.abc import Coroutine, Sequence

import grpc
import structlog
from starlette.requests import Request

from gateway import errors
from gateway.upstream.orchestrator import Caller, Orchestrator
from imagegen.v1 import jobs_pb2

# Between two attempts to follow a job, when the orchestrator is unreachable.
PAUSE_SECONDS = 0.2

ENDED = frozenset(
    {
        jobs_pb2.JOB_STATE_SUCCEEDED,
        jobs_pb2.JOB_STATE_FAILED,
        jobs_pb2.JOB_STATE_CANCELLED,
        jobs_pb2.JOB_STATE_DELETED,
    }
)
UNREACHABLE = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED})

_log = structlog.get_logger()


async def wait_for_end(
    orchestrator: Orchestrator,
    job: jobs_pb2.Job,
    caller: Caller,
    seconds: float,
    *reasons_to_stop: Coroutine[None, None, None],
) -> jobs_pb2.Job:
    """Wait until a job has ended.

    Args:
        orchestrator: to ask.
        job: as it was created.
        caller: whose job it is.
        seconds: how long to wait at most.
        reasons_to_stop: the first of these to return ends the waiting. The job goes on all the same.

    Returns:
        The job: ended if it has, else as it was.

    Raises:
        ApiError: the job was forgotten meanwhile.
        grpc.aio.AioRpcError: the orchestrator refuses.
    """
    if job.state in ENDED:
        for reason in reasons_to_stop:
            reason.close()
        return job
    work = asyncio.create_task(_ended(orchestrator, job.job_id, caller, seconds))
    others = [asyncio.create_task(reason) for reason in reasons_to_stop]
    try:
        await asyncio.wait([work, *others], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        return work.result() if work.done() else job
    finally:
        for task in (work, *others):
            task.cancel()
        await asyncio.gather(work, *others, return_exceptions=True)


async def wait_for_all(
    orchestrator: Orchestrator,
    jobs: Sequence[jobs_pb2.Job],
    caller: Caller,
    seconds: float,
    *reasons_to_stop: Coroutine[None, None, None],
) -> list[jobs_pb2.Job]:
    """Wait until all of several jobs have ended. As wait_for_end, which it raises what it raises."""
    stop = asyncio.Event()

    async def set_after(reason: Coroutine[None, None, None]) -> None:
        await reason
        stop.set()

    others = [asyncio.create_task(set_after(reason)) for reason in reasons_to_stop]
    works = [asyncio.create_task(wait_for_end(orchestrator, job, caller, seconds, stopping(stop))) for job in jobs]
    try:
        return list(await asyncio.gather(*works))
    finally:
        for task in (*works, *others):
            task.cancel()
        await asyncio.gather(*works, *others, return_exceptions=True)


async def client_gone(request: Request) -> None:
    """Return when the client has disconnected. The body must have been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    _log.info("client disconnected while it waited; its job goes on")


async def stopping(event: asyncio.Event) -> None:
    """Return when the event is set."""
    await event.wait()


async def _ended(orchestrator: Orchestrator, job_id: str, caller: Caller, seconds: float) -> jobs_pb2.Job:
    """Follow a job to its end, through an orchestrator that restarts."""
    while True:
        # The stream ends when the job does (with its error, if it failed) or when the connection breaks: see GetJob.
        with contextlib.suppress(grpc.aio.AioRpcError):
            await orchestrator.until_ended(job_id, caller, seconds)
        try:
            job = await orchestrator.get(job_id, caller)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                raise errors.job_not_found() from None
            if error.code() not in UNREACHABLE:
                raise
        else:
            if job.state in ENDED:
                return job
        await asyncio.sleep(PAUSE_SECONDS)
