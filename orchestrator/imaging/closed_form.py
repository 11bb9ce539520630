"""Closed-form matting: the opacity of a band of pixels whose surroundings are known.

Levin, Lischinski, Weiss 2008, "A closed-form solution to natural image matting" (PAMI 30), with a prior. pymatting has
it too, and tests hold this against its results; ADR 0013 says why it is not called.
"""

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

Matte = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.int64]

EPSILON = 1e-5
"""Variance, of colours in [0, 1], that a window is assumed to have in every other direction too (epsilon / |w|)."""
PRIOR = 3e-3
"""Weight of the squared distance to the opacity that the solver starts from, against the Laplacian's energy."""
TOLERANCE = 1e-3
"""The residual at which the solver stops, as a share of the right side's norm."""
ITERATIONS = 150
"""What the solver needs at most; a band of 25,000 pixels takes about half of them."""


def solve(image: npt.NDArray[np.float32], start: Matte, unknown: Flags, prior: float = PRIOR) -> Matte | None:
    """The opacity x (h, w) with the least x^T L x + prior |x - start|^2 where `unknown` is set; `start` elsewhere.

    L is the matting Laplacian over windows of 3 x 3 (equation 12) of the image, float32 (h, w, 3) in [0, 1]; `start` is
    (h, w) in [0, 1]. The system over the unknown pixels is solved by conjugate gradients with Jacobi's preconditioner,
    from `start` on. None where that does not converge within ITERATIONS, or the picture is smaller than a window.
    """
    if min(start.shape) < 3 or not unknown.any():
        return None
    pixels = np.flatnonzero(unknown)
    rows, neighbours = _laplacian(np.asarray(image, np.float64), unknown, pixels)
    rows[:, 12] += prior
    whole = start.astype(np.float64).ravel()
    begin = whole[pixels]
    whole[pixels] = 0
    right = prior * begin - np.einsum("ij,ij->i", rows, whole[neighbours])
    spread, around = np.zeros_like(whole), np.empty_like(rows)

    def multiply(vector: Floats) -> Floats:
        spread[pixels] = vector
        np.take(spread, neighbours, out=around, mode="clip")  # as spread[neighbours], in half the time
        return np.asarray(np.einsum("ij,ij->i", rows, around))

    solution = _conjugate_gradients(multiply, right, begin, np.maximum(rows[:, 12], 1e-12))
    if solution is None:
        return None
    whole[pixels] = np.clip(solution, 0, 1)
    return np.asarray(whole.reshape(start.shape), np.float32)


def _laplacian(image: Floats, unknown: Flags, pixels: Indices) -> tuple[Floats, Indices]:
    """The Laplacian's rows of `pixels`, (n, 25): values for the 5 x 5 pixels around, and the flat indices of those."""
    height, width = unknown.shape
    touched = cv2.dilate(unknown.astype(np.uint8), np.ones((3, 3), np.uint8))
    touched[[0, -1]] = 0
    touched[:, [0, -1]] = 0
    windows = np.flatnonzero(touched)[:, None] + _around(1, width)
    energy = _window_energy(image.reshape(-1, 3)[windows])
    place = np.full(height * width, -1)
    place[pixels] = np.arange(len(pixels))
    row = place[windows]
    keys = np.where(row[..., None] >= 0, row[..., None] * 25 + _STEPS, 25 * len(pixels))
    values = np.bincount(keys.ravel(), energy.ravel(), 25 * len(pixels) + 1)[:-1].reshape(-1, 25)
    # What is outside of the picture is in no window: its values are 0, and any pixel may represent it.
    neighbours = np.clip(pixels[:, None] + _around(2, width), 0, height * width - 1)
    return np.asarray(values, np.float64), np.asarray(neighbours, np.int64)


def _window_energy(colours: Floats) -> Floats:
    """What each window adds to the Laplacian, (n, 9, 9), of its colours (n, 9, 3): equation 12's summand."""
    centred = colours - colours.mean(axis=1, keepdims=True)
    covariance = centred.transpose(0, 2, 1) @ centred / 9 + EPSILON / 9 * np.eye(3)
    affinity = (1 + centred @ np.linalg.inv(covariance) @ centred.transpose(0, 2, 1)) / 9
    return np.asarray(np.eye(9) - affinity)


def _conjugate_gradients(
    multiply: Callable[[Floats], Floats], right: Floats, start: Floats, diagonal: Floats
) -> Floats | None:
    """Hestenes and Stiefel 1952, preconditioned with the diagonal."""
    solution = start.copy()
    residual = right - multiply(solution)
    goal = TOLERANCE * max(float(np.linalg.norm(right)), 1e-12)
    step = residual / diagonal
    direction, product = step, float(residual @ step)
    for _ in range(ITERATIONS):
        if float(np.linalg.norm(residual)) <= goal:
            return solution
        moved = multiply(direction)
        length = product / float(direction @ moved)
        solution += length * direction
        residual -= length * moved
        step = residual / diagonal
        before, product = product, float(residual @ step)
        direction = step + product / before * direction
    return None


def _around(radius: int, width: int) -> Indices:
    """Steps from a flat index to the pixels of its window, row by row."""
    reach = np.arange(-radius, radius + 1)
    return np.asarray((reach[:, None] * width + reach).ravel())


def _steps() -> Indices:
    """[i, j]: which of the 5 x 5 pixels around a window's pixel i its pixel j is."""
    y, x = np.divmod(np.arange(9), 3)
    return np.asarray((y - y[:, None] + 2) * 5 + x - x[:, None] + 2)


_STEPS = _steps()
