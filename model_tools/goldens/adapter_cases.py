"""What the adapters' goldens are made of: shared by the tool that makes them and the tests. Needs numpy alone."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model_tools.goldens.cases import GOLDEN, PICTURE_SIZE, PICTURE_STEPS, Case

ADAPTERS = GOLDEN / "adapters" / "model_repository"
"""Model folders of the adapters' networks."""
ADAPTER_PICTURES = GOLDEN / "adapters" / "pictures.npz"

TOKENS = 4
"""Of the image prompt: what diffusers takes an IP-Adapter with a plain projection to have."""
IMAGE_SIDE = 32
VAE_TILE = 64
"""Pixels; of LARGE_SIZE."""
LARGE_SIZE = (168, 120)
"""(width, height) of the tiled VAE: the last tiles are cut off on both sides."""

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class AdapterCase:
    """One way to start from pictures, with one sampler."""

    name: str
    sampler: str
    prediction: str = "epsilon"
    spacing: str = "leading"
    strength: float | None = None
    """Of the start picture; None for none."""
    mask: bool = False
    nine_channels: bool = False
    """Whether the UNet that was made to inpaint serves."""
    control_scale: float | None = None
    image_scale: float | None = None

    @property
    def case(self) -> Case:
        """Its sampler and schedule."""
        return Case(self.sampler, self.prediction, self.spacing, PICTURE_STEPS)


SAMPLERS_FROM_A_PICTURE = (
    ("ddim", "epsilon", "leading"),
    ("euler", "v_prediction", "trailing"),
    ("euler_ancestral", "epsilon", "leading"),
    ("dpmpp_2m", "v_prediction", "trailing"),
    ("dpmpp_2m_karras", "epsilon", "trailing"),
    ("lcm", "epsilon", "trailing"),
)
CASES = [
    *(AdapterCase(f"img2img-{each[0]}", *each, strength=0.65) for each in SAMPLERS_FROM_A_PICTURE),
    AdapterCase("img2img-whole", "euler", strength=1.0),
    *(AdapterCase(f"inpaint-{each[0]}", *each, strength=0.8, mask=True) for each in SAMPLERS_FROM_A_PICTURE),
    AdapterCase("inpaint-noise", "ddim", strength=1.0, mask=True),
    AdapterCase("inpaint9-noise", "euler", strength=1.0, mask=True, nine_channels=True),
    AdapterCase("inpaint9", "ddim", strength=0.7, mask=True, nine_channels=True),
    AdapterCase("control", "euler", control_scale=0.8),
    AdapterCase("control-img2img", "ddim", strength=0.65, control_scale=0.5),
    AdapterCase("control-inpaint", "dpmpp_2m", strength=1.0, mask=True, control_scale=1.0),
    AdapterCase("image-prompt-low", "ddim", image_scale=0.4),
    AdapterCase("image-prompt-high", "ddim", image_scale=0.9),
    AdapterCase("control-image-prompt", "euler_ancestral", control_scale=0.6, image_scale=0.7),
]


def picture(width: int, height: int, seed: int) -> Pixels:
    """A picture of soft blobs and a few hard edges, uint8 (height, width, 3)."""
    y, x = np.mgrid[0:height, 0:width]
    waves = [
        np.sin(x / (5 + 3 * channel + seed) + seed) * np.cos(y / (7 + 2 * channel)) + 0.4 * (x + channel * y > width)
        for channel in range(3)
    ]
    return np.clip(np.stack(waves, axis=2) * 90 + 110, 0, 255).astype(np.uint8)


def start() -> Pixels:
    """The start picture."""
    return picture(*PICTURE_SIZE, seed=1)


def mask() -> Floats:
    """float32 (height, width), 1 where the picture may change; its borders lie between latents.

    diffusers takes each latent's first pixel, ours any of them: on such borders both are the same.
    """
    width, height = PICTURE_SIZE
    ones = np.zeros((height, width), np.float32)
    ones[16:48, 24:80] = 1
    return ones


def control() -> Pixels:
    """The control picture: white lines on black, uint8 (height, width, 3)."""
    width, height = PICTURE_SIZE
    y, x = np.mgrid[0:height, 0:width]
    distance = np.hypot(x - width / 2, y - height / 2)
    lines = (np.abs(distance - 24) < 1) | (np.abs(x - y) < 1)
    return np.repeat(lines[..., None], 3, axis=2).astype(np.uint8) * 255


def image_prompt() -> Pixels:
    """The image prompt, of the encoder's own side."""
    return picture(IMAGE_SIDE, IMAGE_SIDE, seed=4)


def large() -> Pixels:
    """The picture that the tiled VAE encodes."""
    return picture(*LARGE_SIZE, seed=2)


def graph_digests() -> dict[str, str]:
    """SHA-256 of each graph, by the name of its Triton model."""
    graphs = sorted(ADAPTERS.glob("*/1/graph.onnx"))
    return {path.parts[-3]: hashlib.sha256(path.read_bytes()).hexdigest() for path in graphs}
