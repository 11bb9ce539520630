"""The request as a whole: what every task has in common."""

import re
from dataclasses import dataclass, field
from enum import StrEnum

from orchestrator.errors import Reason
from orchestrator.params.enhancement import Caption, Enhancement, validate_all
from orchestrator.params.guidance import GuidanceParams
from orchestrator.params.lora import LoraParams, validate_loras
from orchestrator.params.picture import MAX_PIXELS, BackgroundParams, ImageSource, LayoutParams, SizeParams
from orchestrator.params.safety import SafetyParams
from orchestrator.params.task import Task
from orchestrator.params.violations import Violations

MAX_STEPS = 150
MAX_GUIDANCE = 50.0
MAX_SEED = 2**63 - 1
MAX_CLIP_SKIP = 4
MAX_SKIP_TOLERANCE = 1.0
MAX_TEXT = 100_000
MIN_DEADLINE, MAX_DEADLINE = 0.1, 86_400.0
MAX_DPI = 2400
MIN_FILE_SIZE, MAX_FILE_SIZE = 1024, 2**31 - 1

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


def is_request_id(text: str) -> bool:
    """Whether `text` may name a request: it goes into logs and headers."""
    return _REQUEST_ID.fullmatch(text) is not None


class SamplerName(StrEnum):
    """Samplers, by the names of families.toml; orchestrator/diffusion/samplers.py holds them."""

    DDIM = "ddim"
    EULER = "euler"
    EULER_ANCESTRAL = "euler_ancestral"
    DPMPP_2M = "dpmpp_2m"
    DPMPP_2M_KARRAS = "dpmpp_2m_karras"
    LCM = "lcm"
    HEUN = "heun"
    UNIPC = "unipc"
    DPMPP_SDE = "dpmpp_sde"
    DPMPP_2M_SDE = "dpmpp_2m_sde"
    DDPM = "ddpm"
    TCD = "tcd"


class ImageFormat(StrEnum):
    """File formats that are written."""

    JPEG = "jpeg"
    PNG = "png"
    WEBP = "webp"

    @property
    def media_type(self) -> str:
        """Media type (RFC 2046) of the format."""
        return f"image/{self.value}"


class Priority(StrEnum):
    """Who goes first, best first."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


class Delivery(StrEnum):
    """How a picture comes back: its bytes in the stream, or a URI in the result store."""

    INLINE = "inline"
    URI = "uri"


class Metadata(StrEnum):
    """What a file says about its request, in addition to its origin."""

    NONE = "none"
    PROMPT = "prompt"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputParams:
    """File format and its options.

    Attributes:
        format: of the file.
        quality: 0 to 100, of JPEG and WebP.
        max_file_size: bytes, 1024 to 2^31 - 1, JPEG and WebP only; None for no limit.
        delivery: bytes or URI.
        target: storage://NAME/PATH of a copy, or of a folder for it; None for none.
        dpi: dots per inch, 1 to 2400, that the file states; None for none.
        metadata: what the file says about its request.
    """

    format: ImageFormat = ImageFormat.PNG
    quality: int = 85
    max_file_size: int | None = None
    delivery: Delivery = Delivery.INLINE
    target: str | None = None
    dpi: int | None = None
    metadata: Metadata = Metadata.NONE

    def validate(self, violations: Violations) -> None:
        """Note what is out of range."""
        violations.within("output.quality", self.quality, 0, 100)
        violations.within("output.dpi", self.dpi, 1, MAX_DPI)
        if self.max_file_size is not None:
            size_ok = MIN_FILE_SIZE <= self.max_file_size <= MAX_FILE_SIZE
            violations.check("output.max_file_size", size_ok, f"must be from {MIN_FILE_SIZE} to {MAX_FILE_SIZE} bytes")
            violations.check(
                "output.max_file_size", self.format is not ImageFormat.PNG, "works for jpeg and webp only, not for png"
            )
        if self.target is not None:
            violations.check_address("output.target", self.target, or_folder=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the operator allows.

    Attributes:
        max_pixels: width times height of a generated picture.
        max_input_bytes: of the file of a client's picture.
    """

    max_pixels: int = MAX_PIXELS
    max_input_bytes: int = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestParams:
    """What a request asks for, whatever its task.

    Attributes:
        task: what to do, with its own parameters (task.py).
        limits: the server's.
        prompt: 0 to 100,000 characters; not only white space, unless the task goes without.
        negative_prompt: 0 to 100,000 characters.
        family: name of the model family.
        size: of the result.
        seed: 0 to 2^63 - 1; None draws one.
        sampler: by name.
        steps: of the denoising loop, 1 to 150.
        guidance_scale: 0 to 50.
        guidance: when it is on, and how predictions become one.
        skip_tolerance: error of a predicted picture up to which a step is extrapolated, 0 (none is) to 1.
        output: file format and its options.
        layout: how the picture is fitted into its size.
        background: what happens to the picture's background.
        enhancements: what is enhanced.
        caption: what is laid over the result.
        safety: the filter; None for none.
        preview_interval: a preview after each n-th step, 0 to 150; 0 for none.
        prompt_weights: whether brackets in both prompts are weights; None for the family's setting.
        clip_skip: last layers of the text encoders that are left out, 0 to 4.
        loras: of the family, at most three.

    Raises:
        InvalidRequestError: with a violation for each field out of range.
    """

    task: Task
    limits: Limits
    prompt: str = ""
    negative_prompt: str = ""
    family: str | None = None
    size: SizeParams = field(default_factory=SizeParams)
    seed: int | None = None
    sampler: SamplerName | None = None
    steps: int | None = None
    guidance_scale: float | None = None
    guidance: GuidanceParams = field(default_factory=GuidanceParams)
    skip_tolerance: float | None = None
    output: OutputParams = field(default_factory=OutputParams)
    layout: LayoutParams = field(default_factory=LayoutParams)
    background: BackgroundParams = field(default_factory=BackgroundParams)
    enhancements: tuple[Enhancement, ...] = ()
    caption: Caption | None = None
    safety: SafetyParams | None = None
    preview_interval: int = 0
    prompt_weights: bool | None = None
    clip_skip: int = 0
    loras: tuple[LoraParams, ...] = ()

    def __post_init__(self) -> None:
        """Check every field."""
        violations = Violations()
        if self.task.needs_prompt:
            said = bool(self.prompt.strip())
            violations.check("prompt", said, "is empty; say what the picture shows", Reason.REQUIRED)
        for path, text in (("prompt", self.prompt), ("negative_prompt", self.negative_prompt)):
            fits, limits = len(text) <= MAX_TEXT, {"maximum": MAX_TEXT}
            described = f"is longer than {MAX_TEXT} characters"
            violations.check(path, fits, described, Reason.ABOVE_MAXIMUM, limits)
        self.task.validate(violations)
        for path, source in self.sources.items():
            source.validate(path, violations, self.limits.max_input_bytes)
        self.size.validate(violations, self.limits.max_pixels, from_picture=self.task.starts_from_picture)
        if self.seed is not None:
            violations.check("seed", 0 <= self.seed <= MAX_SEED, "must be from 0 to 2^63 - 1")
        violations.within("steps", self.steps, 1, MAX_STEPS)
        violations.within("guidance_scale", self.guidance_scale, 0, MAX_GUIDANCE)
        violations.within("skip_tolerance", self.skip_tolerance, 0, MAX_SKIP_TOLERANCE)
        violations.within("clip_skip", self.clip_skip, 0, MAX_CLIP_SKIP, " layers")
        violations.within("preview_interval", self.preview_interval, 0, MAX_STEPS, " steps")
        self.guidance.validate(violations)
        self.output.validate(violations)
        validate_loras(self.loras, violations)
        if self.safety is not None:
            self.safety.validate(violations)
        self.layout.validate(violations)
        validate_all(self.enhancements, violations, from_picture=self.task.starts_from_picture)
        if self.caption is not None:
            self.caption.validate(violations)
        violations.raise_if_any()

    @property
    def sources(self) -> dict[str, ImageSource]:
        """The client's pictures, by the paths of their fields."""
        found = dict(self.task.sources)
        if self.background.replace is not None:
            found["background.replace"] = self.background.replace
        if self.caption is not None:
            found["caption.image"] = self.caption.image
        if self.safety is not None and self.safety.replacement is not None:
            found["safety.replacement"] = self.safety.replacement
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOptions:
    """How a request is run, whatever its task.

    Attributes:
        request_id: 1 to 128 characters of A-Z a-z 0-9 . _ : -; the client's, or a drawn UUID.
        priority: who goes first.
        detach_on_disconnect: the work goes on when the client disconnects.
        deadline_seconds: from its arrival, in which it is to end, 0.1 to 86,400; None if it has no deadline.

    Raises:
        InvalidRequestError: request_id has another form, or the deadline is out of range.
    """

    request_id: str
    priority: Priority = Priority.NORMAL
    detach_on_disconnect: bool = False
    deadline_seconds: float | None = None

    def __post_init__(self) -> None:
        """Check the form of the id, and the deadline."""
        violations = Violations()
        violations.check(
            "request_id",
            is_request_id(self.request_id),
            "must be 1 to 128 characters of A-Z a-z 0-9 . _ : -",
        )
        violations.within("deadline_seconds", self.deadline_seconds, MIN_DEADLINE, MAX_DEADLINE, " seconds")
        violations.raise_if_any()
