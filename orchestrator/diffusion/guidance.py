"""Guidance as arithmetic: two predictions, with and without the prompt, steer one step (Ho & Salimans 2022)."""

from __future__ import annotations

import numpy as np

from orchestrator.arrays import Floats

Array = Floats


def rows(array: Array, count: int) -> Array:
    """The (n, ...) arrays of n pictures, or parts of one, repeated for the `count` guidance rows of a network call.

    All n of the unconditional row come first, then all of the conditional.
    """
    return np.concatenate([array] * count)


def guide(unconditional: Array, conditional: Array, guidance_scale: float, norm_patch: int = 0) -> Array:
    """ε̃ = ε_∅ + s·(ε_c - ε_∅): formula 6 of Ho & Salimans, whose w is s - 1. Linear, so it holds for v as for ε.

    With `norm_patch` each token, norm_patch x norm_patch latents of all channels, is then scaled to the Euclidean
    length that it has in ε_c (as Qwen-Image's pipeline in diffusers).
    """
    guided: Array = unconditional + float(guidance_scale) * (conditional - unconditional)
    if not norm_patch:
        return guided
    wanted, length = _token_lengths(conditional, norm_patch), _token_lengths(guided, norm_patch)
    ratio = np.divide(wanted, length, out=np.ones_like(wanted), where=length > 0)
    return guided * ratio.repeat(norm_patch, axis=2).repeat(norm_patch, axis=3)


def zero_star(unconditional: Array, conditional: Array) -> Array:
    """The prediction without the prompt, scaled to be nearest to the other (Fan et al. 2025, CFG-Zero*, formula 9)."""
    squared = float(np.sum(np.square(unconditional), dtype=np.float64)) + 1e-8
    return float(np.sum(conditional * unconditional, dtype=np.float64) / squared) * unconditional


def projected(change: Array, conditional: Array, eta: float, norm_threshold: float) -> Array:
    """The change at most norm_threshold long, its part along the prompt's prediction times eta.

    Adaptive projected guidance (Sadat et al. 2024, algorithm 1), on the network's prediction as diffusers has it.
    """
    change64, along = change.astype(np.float64), conditional.astype(np.float64)
    length = float(np.linalg.norm(change64))
    if 0 < norm_threshold < length:
        change64 = change64 * (norm_threshold / length)
    along = along / max(float(np.linalg.norm(along)), 1e-12)
    parallel = np.sum(change64 * along) * along
    return np.asarray(change64 - (1 - eta) * parallel, np.float32)


def rescaled(guided: Array, conditional: Array, share: float) -> Array:
    """The guided prediction with the deviation of the prompt's own, by a share of 0 to 1 (Lin et al. 2023, 3.4)."""
    factor = float(conditional.std(dtype=np.float64) / max(float(guided.std(dtype=np.float64)), 1e-12))
    return guided * float(share * factor + (1 - share))


def _token_lengths(array: Array, patch: int) -> Array:
    """Euclidean length of each token, (n, C, h, w) to (n, 1, h / patch, w / patch)."""
    n, channels, height, width = array.shape
    tokens = array.reshape(n, channels, height // patch, patch, width // patch, patch)
    lengths: Array = np.sqrt(np.square(tokens).sum(axis=(1, 3, 5), dtype=np.float32))[:, None]
    return lengths
