"""What both clients say of jobs, families and accounts."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal
from urllib.parse import urlsplit

from imagegen_client.pictures import word
from imagegen_client.v1 import accounts_pb2, jobs_pb2
from imagegen_client.v1 import generation_pb2 as pb

State = Literal["queued", "running", "succeeded", "failed", "cancelled", "deleted"]
ENDED = frozenset(
    {
        jobs_pb2.JOB_STATE_SUCCEEDED,
        jobs_pb2.JOB_STATE_FAILED,
        jobs_pb2.JOB_STATE_CANCELLED,
        jobs_pb2.JOB_STATE_DELETED,
    }
)


@dataclass(frozen=True, slots=True)
class JobStatus:
    """A job as it was when it was last asked for.

    Attributes:
        id: of the job.
        state: queued, running, succeeded, failed, cancelled or deleted.
        task: by its name in the schema.
        family: model family.
        created, ended: when; None where it has not.
        position: jobs that start before it, while it waits.
        url: of its picture, once it has one.
        error: why it failed; empty where it did not.
    """

    id: str
    state: str
    task: str
    family: str
    created: datetime | None
    ended: datetime | None
    position: int | None
    url: str | None
    error: str

    @classmethod
    def of(cls, job: jobs_pb2.Job) -> "JobStatus":
        """The state of a message."""
        return cls(
            id=job.job_id,
            state=word(jobs_pb2.JobState.DESCRIPTOR, job.state, "JOB_STATE_"),
            task=job.task,
            family=job.family,
            created=job.create_time.ToDatetime(UTC) if job.HasField("create_time") else None,
            ended=job.end_time.ToDatetime(UTC) if job.HasField("end_time") else None,
            position=job.position if job.HasField("position") else None,
            url=job.artifact.uri or None,
            error=job.error.message,
        )


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a request would cost, and how long it would take, as far as the server can estimate it.

    Attributes:
        credits: that all its pictures cost the account; 0 where its credits are not counted.
        wait: seconds until the work on a job that comes now begins.
        run: seconds that the work on one picture takes.
    """

    credits: float
    wait: float
    run: float

    @classmethod
    def of(cls, estimate: jobs_pb2.JobEstimate) -> "Estimate":
        """The estimate of a message."""
        return cls(estimate.credits, estimate.wait_seconds, estimate.run_seconds)


@dataclass(frozen=True, slots=True)
class Family:
    """A model family.

    Attributes:
        name: what requests call it.
        ready: whether it can generate now.
        license: of its weights.
        commercial: whether that allows commercial use.
        tasks: that it does, by their names in the schema.
        width, height: of a picture whose size is not given, pixels.
        sampler, steps, guidance_scale: where the request does not say.
    """

    name: str
    ready: bool
    license: str
    commercial: bool
    tasks: tuple[str, ...]
    width: int
    height: int
    sampler: str
    steps: int
    guidance_scale: float

    @classmethod
    def of(cls, family: pb.Family) -> "Family":
        """The family of a message."""
        return cls(
            name=family.name,
            ready=family.ready,
            license=family.license,
            commercial=family.commercial,
            tasks=tuple(family.tasks),
            width=family.default_size.width,
            height=family.default_size.height,
            sampler=word(pb.Sampler.DESCRIPTOR, family.default_sampler, "SAMPLER_"),
            steps=family.default_steps,
            guidance_scale=family.default_guidance_scale,
        )


@dataclass(frozen=True, slots=True)
class Account:
    """The account of the key.

    Attributes:
        name: of the account.
        credits: that it has; None where they are not counted.
        active_jobs: that wait or run.
        max_active_jobs: at a time; None for any number.
    """

    name: str
    credits: float | None
    active_jobs: int
    max_active_jobs: int | None

    @classmethod
    def of(cls, account: accounts_pb2.Account) -> "Account":
        """The account of a message."""
        return cls(
            name=account.name,
            credits=account.credits if account.HasField("credits") else None,
            active_jobs=account.active_jobs,
            max_active_jobs=account.max_active_jobs if account.HasField("max_active_jobs") else None,
        )


def result_name(uri: str) -> str:
    """What ReadResult calls a picture."""
    return urlsplit(uri).path.rsplit("/", 1)[-1]


def state_number(state: State | None) -> jobs_pb2.JobState.ValueType | None:
    """A state as the schema has it."""
    return None if state is None else jobs_pb2.JobState.Value(f"JOB_STATE_{state.upper()}")
