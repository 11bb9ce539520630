"""How near two pictures are, and the bars that goldens are held to."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from orchestrator.arrays import Floats
    from orchestrator.models.contracts import VaeDecoder

MIN_PSNR = 50.0
MAX_LATENT_ERROR = 2e-5
"""Of the largest latent: a random network's latents reach 80."""


class NotingDecoder:
    """A VAE decoder that keeps the latents it was given."""

    def __init__(self, decoder: VaeDecoder) -> None:
        self._decoder = decoder
        self.latents: list[Floats] = []

    async def __call__(self, latents: Floats) -> Floats:
        self.latents.append(latents)
        return await self._decoder(latents)


def psnr(picture: npt.NDArray[np.uint8], expected: npt.NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio of two uint8 pictures, in dB."""
    square_error = np.mean((picture.astype(np.float64) - expected) ** 2)
    return math.inf if square_error == 0 else float(10 * np.log10(255**2 / square_error))
