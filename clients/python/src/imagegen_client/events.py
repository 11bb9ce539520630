"""What happens to a request, as it is streamed."""

from dataclasses import dataclass, field
from typing import TypeAlias

from imagegen_client.pictures import Picture, word
from imagegen_client.v1 import generation_pb2 as pb


@dataclass(frozen=True, slots=True)
class Queued:
    """It waits for its turn.

    Attributes:
        job_id: of its job.
        position: jobs that start before it.
        wait: seconds until it begins, estimated; None where nobody knows.
    """

    job_id: str
    position: int
    wait: float | None


@dataclass(frozen=True, slots=True)
class Started:
    """The work has started.

    Attributes:
        seed: that gives the same picture again.
        prompt_tokens_cut: tokens at the end of the prompt that the family does not take.
    """

    seed: int
    prompt_tokens_cut: int


@dataclass(frozen=True, slots=True)
class Progress:
    """A step is done.

    Attributes:
        stage: prepare, encode, denoise, decode or finish.
        step: steps done in this stage, from 1.
        total: steps of this stage.
    """

    stage: str
    step: int
    total: int


@dataclass(frozen=True, slots=True)
class Preview:
    """A small picture of the unfinished work.

    Attributes:
        data: a JPEG file.
        step: the denoising step that it was taken after.
    """

    data: bytes = field(repr=False)
    step: int


Event: TypeAlias = Queued | Started | Progress | Preview | Picture
"""The last one is the picture."""


class Reader:
    """Turns messages of one job into events.

    Attributes:
        sequence: number of the last event.
    """

    def __init__(self, job_id: str) -> None:
        self.sequence = 0
        self._job_id = job_id

    def read(self, message: pb.GenerateEvent) -> Event | None:
        """The event of a message; None of one that is known already, and of the picture, which is fetched."""
        kind = message.WhichOneof("event")
        if kind in {None, "artifact"} or message.sequence <= self.sequence:
            return None
        self.sequence = message.sequence
        if kind == "queued":
            waits = message.queued.HasField("estimated_wait_seconds")
            wait = message.queued.estimated_wait_seconds if waits else None
            return Queued(self._job_id, message.queued.position, wait)
        if kind == "started":
            return Started(message.started.seed, message.started.prompt_tokens_cut)
        if kind == "progress":
            stage = word(pb.Stage.DESCRIPTOR, message.progress.stage, "STAGE_")
            return Progress(stage, message.progress.step, message.progress.total)
        return Preview(message.preview.jpeg, message.preview.step)
