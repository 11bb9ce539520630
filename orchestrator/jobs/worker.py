"""The attempts of this process: claims jobs, renews their leases while they run, and stops those that run too long."""

import asyncio
import contextvars
from collections.abc import Callable
from contextlib import suppress

import structlog

from orchestrator import metrics
from orchestrator.cancellation import cancel_and_wait
from orchestrator.database.listen import QUEUE, Listener
from orchestrator.errors import AttemptLostError, AttemptTimeoutError, DatabaseUnavailableError, ShuttingDownError
from orchestrator.jobs.attempts import Attempts
from orchestrator.jobs.execution import Execution, Run
from orchestrator.jobs.records import Attempt
from orchestrator.jobs.scheduling import QueueStats, QueueStatsCache

POLL_SECONDS = 1.0
"""Between two claims, besides those that a notification asks for: retries whose time has come bring none."""
RENEW_SECONDS = 1.0
"""Between two renewals of all leases of this process; each also finds the jobs that are not its any more."""
STOP_SECONDS = 10.0
"""An attempt that is to stop has this long to finish its step; then its task is cancelled, and has as long again."""
HAND_BACK_SECONDS = 2.0
"""After the grace time: for attempts to stop, then for their cancellation, then to hand back what ignores it."""
OVERRUN_FACTOR = 20.0
"""An attempt may take this many times as long as expected."""

log = structlog.get_logger()


class Worker:
    """`start`, then `drain` and `close` once."""

    def __init__(
        self,
        attempts: Attempts,
        execution: Execution,
        stats: QueueStatsCache,
        listener: Listener,
        *,
        slots: int,
        attempt_seconds: float,
        may_start: Callable[[], bool],
        streams: Callable[[], int],
    ) -> None:
        """Nothing runs yet.

        Args:
            attempts: of this process.
            execution: runs them.
            stats: how long jobs take.
            listener: hears of new jobs.
            slots: attempts that run at once.
            attempt_seconds: that any attempt may take, at least.
            may_start: whether anything could be generated now; else jobs are left to others.
            streams: how many Generate streams run in this process.
        """
        self._attempts, self._execution, self._stats = attempts, execution, stats
        self._slots, self._attempt_seconds = slots, attempt_seconds
        self._may_start, self._streams = may_start, streams
        self._runs: dict[str, Run] = {}
        self._draining = False
        self._news = asyncio.Event()
        self._unsubscribe = listener.subscribe(QUEUE, lambda _: self._news.set())
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def in_flight(self) -> int:
        """Attempts that run now."""
        return len(self._runs)

    async def start(self) -> None:
        """Begin to claim jobs."""
        loops = {"claim jobs": self._claim_loop, "renew leases of jobs": self._renew_loop}
        self._tasks = [asyncio.create_task(loop(), name=name) for name, loop in loops.items()]

    async def drain(self, seconds: float) -> bool:
        """Claim no more; let what runs end, for at most `seconds`. Returns whether all did.

        Leases are renewed to the end. What still runs then is handed back to the queue, for others.
        """
        self._draining = True
        ended = await self._end_within(seconds)
        if not ended:
            for run in self._runs.values():
                run.stop(ShuttingDownError("this server is stopping"))
            if not await self._end_within(HAND_BACK_SECONDS):
                left = list(self._runs.values())
                await cancel_and_wait(*(run.task for run in left), seconds=HAND_BACK_SECONDS)
                await self._hand_back([run for run in left if run.attempt.job_id in self._runs])
        return ended

    async def close(self) -> None:
        """Stop."""
        self._unsubscribe()
        await cancel_and_wait(*self._tasks, *(run.task for run in self._runs.values()))

    async def _end_within(self, seconds: float) -> bool:
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while tasks := [run.task for run in self._runs.values() if run.task is not None]:
            left = end - loop.time()
            if left <= 0:
                return False
            await asyncio.wait(tasks, timeout=left)
        return True

    async def _hand_back(self, runs: list[Run]) -> None:
        """Put the jobs of attempts back that do not end. Where the database does not answer their leases lapse."""
        for run in runs:
            self._runs.pop(run.attempt.job_id, None)
            metrics.ATTEMPTS_STOPPED.labels("stuck").inc()
            log.error("attempt_stuck", job_id=run.attempt.job_id, reason=str(run.stop_reason))
            overrun = isinstance(run.stop_reason, AttemptTimeoutError)
            with suppress(DatabaseUnavailableError, TimeoutError):
                async with asyncio.timeout(HAND_BACK_SECONDS):
                    await self._attempts.give_back(run.attempt, overrun=overrun)
        self._news.set()

    async def _claim_loop(self) -> None:
        while True:
            self._news.clear()
            try:
                while self._has_room() and (attempt := await self._claim()) is not None:
                    await self._begin(attempt)
            except DatabaseUnavailableError:
                pass  # it is logged where it was noticed, and tried again soon
            except Exception:
                log.exception("claiming_jobs_failed")
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await self._news.wait()

    def _has_room(self) -> bool:
        is_isolated = any(run.attempt.quarantined for run in self._runs.values())
        return not self._draining and not is_isolated and len(self._runs) < self._slots and self._may_start()

    async def _claim(self) -> Attempt | None:
        return await self._attempts.claim(idle=not self._runs, alone=not self._streams())

    async def _begin(self, attempt: Attempt) -> None:
        if attempt.number == 1:
            metrics.QUEUE_WAIT.labels(attempt.priority.value).observe(attempt.age)
        run = Run(attempt, self._attempt_seconds, asyncio.get_running_loop().time())
        self._runs[attempt.job_id] = run
        # A context of its own: names of the worker's are not the job's.
        run.task = asyncio.create_task(
            self._execution.run(run), name=f"job {attempt.job_id}", context=contextvars.Context()
        )
        run.task.add_done_callback(lambda _: self._forget(run))
        if self._draining:  # since it was claimed
            run.stop(ShuttingDownError("this server is stopping"))
        run.limit = max(run.limit, OVERRUN_FACTOR * (await self._latest_stats()).forecast.run(attempt.work_seconds))

    def _forget(self, run: Run) -> None:
        if self._runs.get(run.attempt.job_id) is run:
            del self._runs[run.attempt.job_id]
        self._news.set()

    async def _latest_stats(self) -> QueueStats:
        try:
            return await self._stats.read()
        except DatabaseUnavailableError:
            return QueueStats()

    async def _renew_loop(self) -> None:
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            try:
                await self._renew()
            except DatabaseUnavailableError:
                pass  # it is logged where it was noticed, and tried again soon
            except Exception:  # whatever it was: leases that are not renewed lapse while their jobs run
                log.exception("renewing_leases_failed")
            try:
                await self._supervise()
            except Exception:
                log.exception("supervising_attempts_failed")

    async def _renew(self) -> None:
        """Renew all leases, and stop the attempts whose job is not theirs any more."""
        runs = list(self._runs.values())
        fences = {run.attempt.job_id: run.attempt.fence for run in runs}
        held = await self._attempts.renew(fences, alone=len(self._runs) == 1 and not self._streams())
        lost = [run for run in runs if run.attempt.job_id not in held and not run.is_ending]
        for run in lost:
            if run.stop_reason is None:
                metrics.ATTEMPTS_STOPPED.labels("lost").inc()
            run.stop(AttemptLostError())
        if lost:
            await self._attempts.absolve(run.attempt.job_id for run in lost)

    async def _supervise(self) -> None:
        """Stop attempts that run too long; cancel those that do not stop, and give up those that ignore that."""
        now = asyncio.get_running_loop().time()
        stuck = []
        for run in self._runs.values():
            if run.stop_reason is None and now - run.began > run.limit and not run.is_ending:
                metrics.ATTEMPTS_STOPPED.labels("overrun").inc()
                log.error("attempt_overrun", job_id=run.attempt.job_id, limit=run.limit)
                run.stop(AttemptTimeoutError(f"an attempt ran longer than {run.limit:.0f} seconds"))
            if run.stop_reason is None or run.is_ending or run.task is None:
                continue
            if now - run.stopped > 2 * STOP_SECONDS:
                stuck.append(run)
            elif now - run.stopped > STOP_SECONDS:
                run.task.cancel()
        if stuck:
            await self._hand_back(stuck)
