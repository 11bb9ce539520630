"""What is counted and logged of every picture that was asked for: how it ended."""

import structlog

from orchestrator import metrics
from orchestrator.errors import CancelledByClientError, EngineFaultError, ImagegenError
from orchestrator.generation.job import Job

log = structlog.get_logger()


def report(job: Job) -> None:
    """Count and log the end of a job that ran in this process, or was to."""
    outcome = _count(job.task.value, job.family, job.error)
    metrics.ACCOUNT_PICTURES.labels(job.account.name, job.family).inc(job.error is None)
    metrics.ACCOUNT_SECONDS.labels(job.account.name, job.family).inc(job.seconds or 0.0)
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


def report_failure(task: str, family: str, error: ImagegenError, **names: object) -> None:
    """Count and log work that ended without a picture; `names` are further fields of the log line."""
    log.info("job_ended", outcome=_count(task, family, error), task=task, family=family, error=str(error), **names)


def facts(job_id: str, task: str, family: str) -> dict[str, str | int]:
    """Attributes of the span of a job."""
    return {"imagegen.job": job_id, "imagegen.task": task, "imagegen.family": family}


def _count(task: str, family: str, error: ImagegenError | None) -> str:
    outcome = "succeeded" if error is None else type(error).__name__
    if isinstance(error, CancelledByClientError):
        outcome = "cancelled"
    if isinstance(error, EngineFaultError):
        log.error("engine_fault", error=str(error))
    metrics.REQUESTS.labels(task, family, outcome).inc()
    return outcome
