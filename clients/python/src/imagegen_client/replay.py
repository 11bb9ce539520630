"""A job's picture generated again, from what the service keeps of the job, and what differs."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from google.protobuf.message import Message

from imagegen_client.pictures import Picture, Source, to_source, word
from imagegen_client.v1 import generation_pb2 as pb
from imagegen_client.v1 import jobs_pb2


@dataclass(frozen=True, slots=True)
class Replay:
    """A job's picture, generated again.

    Attributes:
        picture: the new one.
        differences: what differs from the job, each for a reader; empty where the files are equal, byte for byte.
    """

    picture: Picture
    differences: tuple[str, ...]


def repeat(job: jobs_pb2.Job, pictures: Sequence[Source] = ()) -> pb.GenerateRequest:
    """The request that generates a job's picture again.

    Args:
        job: as the service describes it.
        pictures: those that were sent with the job, in any order: the service kept their SHA-256 alone.

    Raises:
        OSError: a picture cannot be read.
        ValueError: the job has no picture, or its request was not kept, or pictures are missing.
    """
    if not job.HasField("artifact"):
        raise ValueError(f"job {job.job_id} has no picture to compare with: only jobs that succeeded can be replayed")
    if not job.HasField("request"):
        raise ValueError(f"job {job.job_id}: the service did not keep its request (over 16 KiB, or an older server)")
    request = pb.GenerateRequest()
    request.CopyFrom(job.request)
    request.family, request.seed = job.artifact.family, job.artifact.seed
    if job.artifact.HasField("sampler"):
        request.sampler = job.artifact.sampler
    if request.HasField("text_to_image"):
        request.steps = job.artifact.steps
    sent = [to_source(picture) for picture in pictures]
    files = {hashlib.sha256(each.data).digest(): each.data for each in sent if each.HasField("data")}
    missing = []
    for source in _sources(request):
        if source.HasField("sha256"):
            data = files.get(source.sha256)
            if data is None:
                missing.append(source.sha256.hex())
            else:
                source.data = data
            source.ClearField("sha256")
    if missing:
        raise ValueError(f"the job was given pictures that must be sent again; their SHA-256: {', '.join(missing)}")
    return request


def differences(before: pb.Artifact, after: pb.Artifact) -> tuple[str, ...]:
    """What differs between two pictures of one request: their files, and what generated them."""
    found = []
    for name in ("family", "width", "height", "steps", "quality", "software"):
        old, new = getattr(before, name), getattr(after, name)
        if before.HasField(name) and old != new:
            found.append(f"{name}: {old} then, {new} now")
    if before.sampler != after.sampler:
        old, new = (word(pb.Sampler.DESCRIPTOR, each.sampler, "SAMPLER_") for each in (before, after))
        found.append(f"sampler: {old} then, {new} now")
    found += _models(before, after)
    if not before.HasField("sha256"):
        found.append("file: the SHA-256 of the first one is not known, an older server generated it")
    elif before.sha256 != after.sha256:
        found.append(f"file: SHA-256 {before.sha256.hex()} then, {after.sha256.hex()} now")
    return tuple(found)


def _models(before: pb.Artifact, after: pb.Artifact) -> Iterator[str]:
    """What differs between the networks that took part."""
    models = {model.model: model for model in after.models}
    for old in before.models:
        new = models.pop(old.model, None)
        if new is None:
            yield f"model {old.model}: took part then, not now"
            continue
        for name in ("model_sha256", "engine"):
            then, now = getattr(old, name), getattr(new, name)
            if then != now:
                yield f"model {old.model}: {name} {then or 'not stated'} then, {now or 'not stated'} now"
    yield from (f"model {name}: takes part now, not then" for name in models)


def _sources(message: Message) -> Iterator[pb.ImageSource]:
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        for each in [value] if isinstance(value, Message) else value:
            if isinstance(each, pb.ImageSource):
                yield each
            elif isinstance(each, Message):
                yield from _sources(each)
