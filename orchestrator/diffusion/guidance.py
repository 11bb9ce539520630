"""Classifier-free guidance (Ho & Salimans 2022): two predictions, with and without the prompt, steer one step."""

from __future__ import annotations

import numpy as np

from orchestrator.arrays import Floats


def rows_of(kind: str, guidance_scale: float) -> int:
    """Rows of a step's network call for one picture: 2 where the prediction without the prompt is needed, too.

    Args:
        kind: of the family, NetworkTable.guidance.
        guidance_scale: at 1 the prediction without the prompt cancels out of `guide`. Below 1, too, there is no
            guidance, as in diffusers: few-step models are distilled without it, and come with 0.
    """
    return 2 if kind == "classifier_free" and guidance_scale > 1.0 else 1


def rows(array: Floats, count: int) -> Floats:
    """The (n, ...) arrays of n pictures, or parts of one, repeated for the `count` guidance rows of a network call.

    All n of the unconditional row come first, then all of the conditional.
    """
    return np.concatenate([array] * count)


def guide(output: Floats, guidance_scale: float, count: int, norm_patch: int = 0) -> Floats:
    """Join a network's output rows, as `rows` laid them out, to the predictions (n, ...) that a sampler sees.

    Two rows are [unconditional, conditional] and give ε̃ = ε_∅ + s·(ε_c - ε_∅): formula 6 of the paper, whose w is
    s - 1. It is linear, so it holds for v as for ε. One row is the conditional prediction and passes unchanged.

    With `norm_patch` each token, norm_patch x norm_patch latents of all channels, is then scaled to the Euclidean
    length that it has in ε_c (as Qwen-Image's pipeline in diffusers).
    """
    if count == 1:
        return output
    unconditional, conditional = np.split(output, count)
    guided: Floats = unconditional + float(guidance_scale) * (conditional - unconditional)
    if not norm_patch:
        return guided
    wanted, length = _token_lengths(conditional, norm_patch), _token_lengths(guided, norm_patch)
    ratio = np.divide(wanted, length, out=np.ones_like(wanted), where=length > 0)
    return guided * ratio.repeat(norm_patch, axis=2).repeat(norm_patch, axis=3)


def _token_lengths(array: Floats, patch: int) -> Floats:
    """Euclidean length of each token, (n, C, h, w) to (n, 1, h / patch, w / patch)."""
    n, channels, height, width = array.shape
    tokens = array.reshape(n, channels, height // patch, patch, width // patch, patch)
    lengths: Floats = np.sqrt(np.square(tokens).sum(axis=(1, 3, 5), dtype=np.float32))[:, None]
    return lengths
