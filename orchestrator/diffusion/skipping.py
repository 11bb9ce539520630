"""Step skipping: steps whose predicted picture is extrapolated from those that the same request computed before.

The idea is EasyCache's (Zhou et al. 2025, arXiv:2507.02860): a request watches its own outputs, and spares the network
where they are predictable. There the last output is used again while the sum of its relative changes is small. Here x₀
is extrapolated along a line through the last two that were computed, and how wrong that line would have been is
measured at each step that is computed, as multistep solvers estimate their error (Hairer et al. 1993, III.5). x₀, and
not the noise: the noise that stochastic samplers add in each step changes the noise that is predicted, but hardly x₀.
The line is one over the log of the noise level, in which DPM-Solver++ takes x₀ for a polynomial, too (Lu et al. 2022).

Nothing of other requests is looked at, so a picture does not depend on who shares its batches.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from orchestrator.diffusion.sampling import Latents
from orchestrator.diffusion.schedules import SamplingPath

SMALLEST = 1e-12
"""Norm that counts as none."""
LEAST_SHARE = 1e-3
"""Noise level that counts as none, and share of the picture in what is all noise: their logs stay finite."""


class StepSkipper:
    """Decides for one walk which steps are skipped, and what the network would have predicted there."""

    def __init__(self, path: SamplingPath, tolerance: float, rows: Callable[[int], int]) -> None:
        """Of a walk.

        Args:
            path: of the walk.
            tolerance: largest estimated error of a predicted picture, root mean square as a share of the picture's.
            rows: guidance rows at a step. Predictions with and without guidance are not on one line.
        """
        self._path, self._tolerance, self._rows = path, tolerance, rows
        self._known: list[tuple[float, Latents]] = []  # place and x₀ of the last two computed steps, of one kind
        self._kind = 0
        self._curvature: float | None = None
        self._skips = False
        self.skipped = 0

    def __call__(self, step: int, *, second: bool = False) -> Latents | None:
        """x₀ at a step, where it is skipped; None where the network must be asked. A step is skipped as a whole."""
        if not second:
            self._skips = self._is_predictable(step)
            self.skipped += self._skips
        return self._line(self._place(step, second=second)) if self._skips else None

    def note(self, step: int, x0: Latents) -> None:
        """What was computed for the first network call of a step."""
        rows, place = self._rows(step), self._place(step)
        if rows != self._kind:
            self._known, self._kind, self._curvature = [], rows, None
        if len(self._known) > 1:
            error = np.linalg.norm(x0 - self._line(place)) / max(float(np.linalg.norm(x0)), SMALLEST)
            self._curvature = float(error) / self._reach(place)
        self._known = [*self._known[-1:], (place, x0)]

    def _is_predictable(self, step: int) -> bool:
        if self._curvature is None or step == self._path.steps - 1 or self._rows(step) != self._kind:
            return False
        ends = [False, True] if step < len(self._path.second) else [False]
        farthest = max(self._reach(self._place(step, second=second)) for second in ends)
        return self._curvature * farthest <= self._tolerance

    def _place(self, step: int, *, second: bool = False) -> float:
        """Log of the noise level, relative to the picture."""
        sigma = self._path.second[step].sigma if second else self._path.sigmas[step]
        picture = max(1 - sigma, LEAST_SHARE) if self._path.flows else 1.0
        return math.log(max(sigma, LEAST_SHARE) / picture)

    def _line(self, place: float) -> Latents:
        (before, x0_before), (last, x0) = self._known
        return x0 + (x0 - x0_before) * ((place - last) / (last - before))

    def _reach(self, place: float) -> float:
        """What the error of the line grows with: the product of the distances from both points (Newton's remainder)."""
        return abs((place - self._known[0][0]) * (place - self._known[1][0]))
