"""Events and families to messages."""

from collections.abc import Iterable, Iterator

from imagegen.v1 import generation_pb2 as pb
from orchestrator.api.converters.tables import FORMATS, GUIDANCE_METHODS, SAMPLERS, STAGES
from orchestrator.diffusion.pipeline import samplers_of
from orchestrator.generation.events import Artifact, Event, Preview, Progress, Queued, Started
from orchestrator.models.families import Family
from orchestrator.models.source import ModelDigest
from orchestrator.params import Guidance, GuidanceMethod
from orchestrator.results.buckets import CHUNK_BYTES


def from_event(job_id: str, request_id: str, sequence: int, event: Event) -> Iterator[pb.GenerateEvent]:
    """An event of a job, whose request has that id; an artifact with its bytes as one message for each chunk."""
    if isinstance(event, Queued):
        queued = pb.Queued(job_id=job_id, position=event.position, estimated_wait_seconds=event.estimated_wait)
        yield pb.GenerateEvent(sequence=sequence, queued=queued)
    elif isinstance(event, Started):
        started = pb.Started(
            request_id=request_id,
            seed=event.seed,
            network_width=event.network_width,
            network_height=event.network_height,
            prompt_tokens_cut=event.prompt_tokens_cut,
        )
        if event.edges is not None:
            started.edges_low_threshold, started.edges_high_threshold = event.edges
        yield pb.GenerateEvent(sequence=sequence, started=started)
    elif isinstance(event, Progress):
        progress = pb.Progress(stage=STAGES[event.stage], step=event.step, total=event.total)
        yield pb.GenerateEvent(sequence=sequence, progress=progress)
    elif isinstance(event, Preview):
        yield pb.GenerateEvent(sequence=sequence, preview=pb.Preview(jpeg=event.jpeg, step=event.step))
    else:
        yield from _from_artifact(request_id, sequence, event)


def _from_artifact(request_id: str, sequence: int, artifact: Artifact) -> Iterator[pb.GenerateEvent]:
    message = to_artifact(request_id, artifact)
    if artifact.data is None:
        message.last_chunk = True
        yield pb.GenerateEvent(sequence=sequence, artifact=message)
        return
    for start in range(0, max(1, len(artifact.data)), CHUNK_BYTES):
        message.data = artifact.data[start : start + CHUNK_BYTES]
        message.last_chunk = start + CHUNK_BYTES >= len(artifact.data)
        yield pb.GenerateEvent(sequence=sequence, artifact=message)
        message = pb.Artifact()


def to_artifact(request_id: str, artifact: Artifact) -> pb.Artifact:
    """An artifact without its bytes."""
    message = pb.Artifact(
        file_size=artifact.file_size,
        format=FORMATS[artifact.format],
        width=artifact.width,
        height=artifact.height,
        seed=artifact.seed,
        request_id=request_id,
        family=artifact.family,
        models=_to_digests(artifact.models),
        timings=[pb.StageTiming(stage=STAGES[t.stage], seconds=t.seconds, calls=t.calls) for t in artifact.timings],
        sampler=None if artifact.sampler is None else SAMPLERS[artifact.sampler],
        steps=artifact.steps,
        quality=artifact.quality,
        nsfw_score=artifact.nsfw_score,
        filtered=artifact.filtered or None,
        sha256=bytes.fromhex(artifact.sha256) or None,
        software=artifact.software or None,
    )
    if artifact.sampler is not None:
        message.guidance_scale = artifact.guidance_scale
        message.guidance.CopyFrom(_to_guidance(artifact.guidance))
        if artifact.skip_tolerance > 0:
            message.skip_tolerance, message.skipped_steps = artifact.skip_tolerance, artifact.skipped_steps
    if artifact.uri is not None:
        message.uri = artifact.uri
    return message


def _to_guidance(guidance: Guidance) -> pb.Guidance:
    projected = guidance.method is GuidanceMethod.APG
    return pb.Guidance(
        start=guidance.start,
        end=guidance.end,
        rescale=guidance.rescale,
        method=GUIDANCE_METHODS[guidance.method],
        eta=guidance.eta if projected else None,
        norm_threshold=guidance.norm_threshold if projected else None,
        momentum=guidance.momentum if projected else None,
    )


def _to_digests(models: Iterable[ModelDigest]) -> list[pb.ModelDigest]:
    return [pb.ModelDigest(model=m.model, model_sha256=m.sha256, engine=m.engine) for m in models]


def to_family(family: Family, models: Iterable[ModelDigest], *, ready: bool) -> pb.Family:
    """A family, for a client that chooses; `models` are its networks that are ready."""
    width, height = family.networks.aspect_sizes[0]
    can_control = "control" in family.abilities
    return pb.Family(
        name=family.name,
        ready=ready,
        license=family.license,
        tasks=family.tasks,
        network_sizes=[pb.Size(width=width, height=height) for width, height in family.networks.aspect_sizes],
        default_size=pb.Size(width=family.default_width, height=family.default_height),
        default_sampler=SAMPLERS[family.default_sampler],
        samplers=[SAMPLERS[name] for name in samplers_of(family.networks)],
        guidance=family.networks.guidance,
        default_steps=family.default_steps,
        default_guidance_scale=family.default_guidance_scale,
        commercial=family.commercial,
        native_size=pb.Size(width=width, height=height),
        control_kinds=family.networks.control_kinds if can_control else (),
        models=_to_digests(models),
        prompt_weights=family.prompt_weights,
        max_clip_skip=family.networks.max_clip_skip,
        max_prompt_tokens=family.networks.max_prompt_tokens,
        loras=[
            pb.FamilyLora(name=lora.name, license=lora.license, commercial=lora.commercial, default_weight=lora.weight)
            for lora in family.networks.loras
        ],
        embeddings=family.networks.embeddings,
    )
