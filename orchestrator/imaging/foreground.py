"""The colours of an object and of what is behind it, where a picture shows them mixed.

Germer, Uelwer, Conrad, Harmeling 2020, "Fast multi-level foreground estimation". pymatting has it too, and tests hold
this against its results; ADR 0013 says why it is not called.
"""

import cv2
import numpy as np
import numpy.typing as npt

from orchestrator.arrays import Floats

REGULARIZATION = 1e-5
"""Weight that two neighbours are alike where the matte is flat; where it changes, that change is added."""
SMALL_SIDE = 32
"""Up to this longer side a level is walked through SMALL_ROUNDS times, and BIG_ROUNDS times above."""
SMALL_ROUNDS, BIG_ROUNDS = 20, 4
"""Twice the paper's: here all pixels of a round are computed at once, there each sees those before it."""


def estimate(image: Floats, matte: Floats) -> tuple[Floats, Floats]:
    """F and B, float32 (h, w, 3) in [0, 1], with image = matte F + (1 - matte) B and neighbours alike (equation 4).

    The image is float32 (h, w, 3) in [0, 1], the matte (h, w) in [0, 1]. From one pixel to the picture's size, each
    level of a pyramid starts with the colours of the one before and improves them, two unknowns a pixel and channel.
    """
    height, width = matte.shape
    levels = max(1, int(np.ceil(np.log2(max(height, width)))))
    front, back = (_average(image, where) for where in (matte > 0.9, matte < 0.1))
    for level in range(levels + 1):
        size = round(width ** (level / levels)), round(height ** (level / levels))
        rounds = SMALL_ROUNDS if max(size) <= SMALL_SIDE else BIG_ROUNDS
        front, back = _improved(
            _nearest(image, size), _nearest(matte, size), _nearest(front, size), _nearest(back, size), rounds
        )
    return front, back


def _improved(image: Floats, matte: Floats, front: Floats, back: Floats, rounds: int) -> tuple[Floats, Floats]:
    """Each pixel's two equations (the paper's equation 7), solved `rounds` times with the neighbours as they were."""
    share = matte[..., None]
    rest = 1 - share
    weights = [np.float32(REGULARIZATION) + np.abs(share - neighbour) for neighbour in _neighbours(share)]
    total = np.add.reduce(weights)
    own, other, mixed = share * share + total, rest * rest + total, share * rest
    scale = 1 / (own * other - mixed * mixed)
    seen, behind = share * image, rest * image
    for _ in range(rounds):
        first, second = _drawn(seen, weights, front), _drawn(behind, weights, back)
        front = np.clip((other * first - mixed * second) * scale, 0, 1)
        back = np.clip((own * second - mixed * first) * scale, 0, 1)
    return front, back


def _drawn(constant: Floats, weights: list[Floats], colours: Floats) -> Floats:
    total = constant.copy()
    for weight, neighbour in zip(weights, _neighbours(colours), strict=True):
        total += weight * neighbour
    return total


def _neighbours(array: Floats) -> list[Floats]:
    """The pixels left, right, above and below; the picture's border goes on."""
    wide = np.pad(array, ((1, 1), (1, 1), (0, 0)), mode="edge")
    return [wide[1:-1, :-2], wide[1:-1, 2:], wide[:-2, 1:-1], wide[2:, 1:-1]]


def _average(image: Floats, where: npt.NDArray[np.bool_]) -> Floats:
    """One pixel (1, 1, 3); black where there is none to average, as in pymatting."""
    chosen = image[where]
    return np.asarray(chosen.sum(axis=0) / max(1, len(chosen)), np.float32)[None, None]


def _nearest(array: Floats, size: tuple[int, int]) -> Floats:
    return np.asarray(cv2.resize(array, size, interpolation=cv2.INTER_NEAREST), np.float32)
