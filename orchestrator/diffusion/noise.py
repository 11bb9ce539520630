"""Noise from a counter-based generator: Philox (Salmon et al. 2011), keyed by the request's seed.

Each use of noise is a stream of its own, 2^128 blocks apart from the next, so the noise of step 7 does not depend on
whether, or in what order, the others were drawn: the same seed gives the same picture whatever else runs, and a run
that resumes at some step gets the noise it would have had.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

START = 0
"""Stream of the first latents; step i draws from stream 1 + i."""
SECOND = 1
"""The fourth word of the counter where a step draws a second time; 0 elsewhere."""


def start_noise(seed: int, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """N(0, I) of `shape` float32 to start from; `seed` from 0 up to params.MAX_SEED."""
    return _normal(seed, START, shape)


def step_noise(seed: int, step: int, shape: tuple[int, ...], *, second: bool = False) -> npt.NDArray[np.float32]:
    """N(0, I) of `shape` float32 to add at `step` (0 is the first); `second` where a step adds noise twice."""
    return _normal(seed, START + 1 + step, shape, SECOND if second else 0)


def _normal(seed: int, stream: int, shape: tuple[int, ...], part: int = 0) -> npt.NDArray[np.float32]:
    # The counter's lowest two of four words count blocks; the third is the stream.
    philox = np.random.Philox(key=seed, counter=[0, 0, stream, part])
    return np.random.Generator(philox).standard_normal(shape).astype(np.float32)
