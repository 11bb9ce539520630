"""Classifier-free guidance (Ho & Salimans 2022): two predictions, with and without the prompt, steer one step."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]


def needs_unconditional(guidance_scale: float) -> bool:
    """Whether a step needs both rows: at scale 1 the unconditional prediction cancels out of `guide`.

    Below 1, too, there is no guidance, as in diffusers: few-step models are distilled without it, and come with 0.
    """
    return guidance_scale > 1.0


def rows(array: Array, count: int) -> Array:
    """The (n, ...) arrays of n pictures, or parts of one, repeated for the `count` guidance rows of a network call.

    All n of the unconditional row come first, then all of the conditional.
    """
    return np.concatenate([array] * count)


def guide(output: Array, guidance_scale: float, count: int) -> Array:
    """Join a network's output rows, as `rows` laid them out, to the predictions (n, ...) that a sampler sees.

    Two rows are [unconditional, conditional] and give ε̃ = ε_∅ + s·(ε_c - ε_∅): formula 6 of the paper, whose w is
    s - 1. It is linear, so it holds for v as for ε. One row is the conditional prediction and passes unchanged.
    """
    if count == 1:
        return output
    unconditional, conditional = np.split(output, count)
    return unconditional + float(guidance_scale) * (conditional - unconditional)
