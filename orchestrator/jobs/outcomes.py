"""What is counted and logged of every picture that was asked for: how it ended."""

import structlog

from orchestrator import metrics
from orchestrator.errors import CancelledByClientError, EngineFaultError, ImagegenError
from orchestrator.jobs.job import Job
from orchestrator.jobs.records import Attempt

log = structlog.get_logger()


def report(job: Job) -> None:
    """Count and log the end of a job that ran in this process, or was to."""
    outcome = _count(job.task.value, job.family, job.error)
    log.info(
        "job_ended",
        outcome=outcome,
        request_id=job.options.request_id,
        job_id=job.id,
        account=job.account.name,
        task=job.task.value,
        family=job.family,
        seed=job.seed,
        steps=job.artifact.steps if job.artifact else None,
        seconds=job.seconds,
    )


def report_failure(attempt: Attempt, error: ImagegenError) -> None:
    """Count and log an attempt that made no picture and will not be followed by another of this process."""
    log.info(
        "job_ended",
        outcome=_count(attempt.task, attempt.family, error),
        request_id=attempt.request_id,
        job_id=attempt.job_id,
        account=attempt.account,
        task=attempt.task,
        family=attempt.family,
        seed=attempt.seed,
        error=str(error),
    )


def _count(task: str, family: str, error: ImagegenError | None) -> str:
    outcome = "succeeded" if error is None else type(error).__name__
    if isinstance(error, CancelledByClientError):
        outcome = "cancelled"
    if isinstance(error, EngineFaultError):
        log.error("engine_fault", error=str(error))
    metrics.REQUESTS.labels(task, family, outcome).inc()
    return outcome
