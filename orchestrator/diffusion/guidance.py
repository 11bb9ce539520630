"""Classifier-free guidance (Ho & Salimans 2022): two predictions, with and without the prompt, steer one step."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]


def needs_unconditional(guidance_scale: float) -> bool:
    """Whether a step needs both rows: at scale 1 the unconditional prediction cancels out of `guide`."""
    return guidance_scale != 1.0


def rows(array: Array, count: int) -> Array:
    """One picture's (1, ...) array as `count` equal rows, for a network call that carries its guidance rows."""
    return np.repeat(array, count, axis=0)


def guide(output: Array, guidance_scale: float) -> Array:
    """Join a network's output rows to the one prediction (1, ...) that a sampler sees.

    Two rows are [unconditional, conditional] and give ε̃ = ε_∅ + s·(ε_c - ε_∅): formula 6 of the paper, whose w is
    s - 1. It is linear, so it holds for v as for ε. One row is the conditional prediction and passes unchanged.
    """
    if len(output) == 1:
        return output
    unconditional, conditional = output[:1], output[1:]
    return unconditional + float(guidance_scale) * (conditional - unconditional)
