"""What happens to a request, as plain values; the API edge turns them into protobuf."""

from dataclasses import dataclass, field

from orchestrator.diffusion.stages import Stage, StageTime
from orchestrator.models.source import ModelDigest
from orchestrator.params import Guidance, ImageFormat, SamplerName


@dataclass(frozen=True, slots=True)
class Queued:
    """The request waits: how many start before it, and for about how many seconds."""

    position: int
    estimated_wait: float


@dataclass(frozen=True, slots=True)
class Started:
    """The work has started, with what is decided by now: see GenerateEvent.Started in the schema."""

    seed: int
    network_width: int
    network_height: int
    prompt_tokens_cut: int
    edges: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """A step, from 1 to total, of a stage is done."""

    stage: Stage
    step: int
    total: int


@dataclass(frozen=True, slots=True)
class Preview:
    """A small JPEG of the picture as predicted after a denoising step."""

    jpeg: bytes
    step: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """The picture: its bytes (None once they are only in the result store), its URI (None if it is not there).

    `sha256` is of its file, hex, and `software` the version that generated it; empty of those stored by older versions.
    """

    data: bytes | None
    uri: str | None
    file_size: int
    format: ImageFormat
    quality: int | None
    width: int
    height: int
    seed: int
    family: str
    sampler: SamplerName | None
    steps: int
    models: tuple[ModelDigest, ...]
    timings: tuple[StageTime, ...]
    nsfw_score: float | None = None
    filtered: bool = False
    sha256: str = ""
    software: str = ""
    guidance_scale: float = 1.0
    guidance: Guidance = field(default_factory=Guidance)
    skip_tolerance: float = 0.0

    @property
    def skipped_steps(self) -> int:
        """Denoising steps that were extrapolated."""
        return sum(each.skipped for each in self.timings)


Event = Queued | Started | Progress | Preview | Artifact
