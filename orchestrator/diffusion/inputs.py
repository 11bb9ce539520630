"""What the pipeline is given for one picture."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from orchestrator.arrays import Floats, Pixels
from orchestrator.diffusion.latents import Size
from orchestrator.models.contracts import Ids
from orchestrator.params import Guidance, SamplerName


@dataclass(frozen=True, slots=True)
class Start:
    """A picture to start from.

    Attributes:
        pixels: uint8 (height, width, 3) RGB, of inputs.size.
        strength: in (0, 1], the share of the steps that are walked; at 1 little is left of the picture.
    """

    pixels: Pixels
    strength: float


@dataclass(frozen=True, slots=True)
class Control:
    """A picture that steers.

    Attributes:
        image: float32 (3, height, width) RGB in [0, 1], of inputs.size: white edges on black, or what its kind shows.
        scale: from 0 (as without it) to 1 and above.
        kind: index in NetworkTable.control_kinds.
    """

    image: Floats
    scale: float
    kind: int = 0


@dataclass(frozen=True, slots=True)
class ImagePrompt:
    """A picture whose likeness is wanted.

    Attributes:
        pixels: uint8 RGB, of any size; its middle square is used.
        more: others; the mean of what the encoder answers steers.
        scale: from 0 (as without it) to 1 and above.
        face: whether it is an inner face, which the family's face encoder takes if it has one.
    """

    pixels: Pixels
    scale: float
    face: bool = False
    more: tuple[Pixels, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineInputs:
    """What the pipeline needs to know; every range is checked already.

    Attributes:
        prompt_ids: (E, n * L), of the prompt in its template, a row for each text encoder, in n chunks of its length.
        negative_ids: (E, m * L), of the negative prompt.
        size: width and height at which the networks run, pixels: one of the family's aspect sizes; or any multiples of
            NetworkTable.grain, which are denoised in overlapping tiles where they exceed NetworkTable.tile_size.
        seed: of all randomness.
        sampler: by name.
        steps: of the whole walk, of which a start's strength leaves a share.
        guidance_scale: up to 1 for none.
        guidance: in which steps, and by which method.
        skip_tolerance: estimated error, as a share of the predicted picture, up to which a step is extrapolated from
            those before it (skipping.py); 0 for none.
        start: a picture to start from.
        mask: float32 (height, width) in [0, 1], of inputs.size, at least 0.5 where the picture may change; the rest is
            kept as in `start`. With a mask, strength 1 starts from noise alone.
        control: a picture that steers.
        image_prompt: a picture whose likeness is wanted.
        prompt_weights, negative_weights: as the ids, of each token; None where all are 1.
        clip_skip: last layers of the text encoders that are left out, up to NetworkTable.max_clip_skip.

    Raises:
        ValueError: a picture is not of inputs.size, a strength is not in (0, 1], or there is a mask without a start.
    """

    prompt_ids: Ids
    negative_ids: Ids
    size: Size
    seed: int
    sampler: SamplerName
    steps: int
    guidance_scale: float
    guidance: Guidance = field(default_factory=Guidance)
    skip_tolerance: float = 0.0
    start: Start | None = None
    mask: npt.NDArray[np.float32] | None = None
    control: Control | None = None
    image_prompt: ImagePrompt | None = None
    prompt_weights: Floats | None = None
    negative_weights: Floats | None = None
    clip_skip: int = 0

    def __post_init__(self) -> None:
        """Hold the pictures to the size."""
        hw = self.size[::-1]
        if self.start is not None and self.start.pixels.shape != (*hw, 3):
            raise ValueError(f"the start picture is {self.start.pixels.shape}, not of size {self.size}")
        if self.start is not None and not 0 < self.start.strength <= 1:
            raise ValueError(f"strength is {self.start.strength}, not in (0, 1]")
        if self.mask is not None and (self.start is None or self.mask.shape != hw):
            raise ValueError(f"the mask is {self.mask.shape}, not of size {self.size}, or there is no start picture")
        if self.control is not None and self.control.image.shape != (3, *hw):
            raise ValueError(f"the control picture is {self.control.image.shape}, not of size {self.size}")
