"""Step skipping: steps whose predicted picture is extrapolated from those that the same request computed before.

The idea is EasyCache's (Zhou et al. 2025, arXiv:2507.02860): a request watches its own outputs, and spares the network
where they are predictable. There the last output is used again while the sum of its relative changes is small. Here x₀
is extrapolated along a line through the last two that were computed, and how wrong that line would have been is
measured at each step that is computed, as multistep solvers estimate their error (Hairer et al. 1993, III.5). x₀, and
not the noise: the noise that stochastic samplers add in each step changes the noise that is predicted, but hardly x₀.

Nothing of other requests is looked at, so a picture does not depend on who shares its batches.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from orchestrator.diffusion.sampling import Latents
from orchestrator.diffusion.schedules import SamplingPath

SMALLEST = 1e-12
"""Norm that counts as none."""


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
        self._known: list[tuple[float, Latents]] = []  # timestep and x₀ of the last two computed steps, of one kind
        self._kind = 0
        self._curvature: float | None = None
        self._skips = False
        self.skipped = 0

    def __call__(self, step: int, *, second: bool = False) -> Latents | None:
        """x₀ at a step, where it is skipped; None where the network must be asked. A step is skipped as a whole."""
        if not second:
            self._skips = self._is_predictable(step)
            self.skipped += self._skips
        return self._line(self._timestep(step, second=second)) if self._skips else None

    def note(self, step: int, x0: Latents) -> None:
        """What was computed for the first network call of a step."""
        rows, timestep = self._rows(step), self._timestep(step)
        if rows != self._kind:
            self._known, self._kind, self._curvature = [], rows, None
        if len(self._known) > 1:
            error = np.linalg.norm(x0 - self._line(timestep)) / max(float(np.linalg.norm(x0)), SMALLEST)
            self._curvature = float(error) / self._reach(timestep)
        self._known = [*self._known[-1:], (timestep, x0)]

    def _is_predictable(self, step: int) -> bool:
        if self._curvature is None or step == self._path.steps - 1 or self._rows(step) != self._kind:
            return False
        ends = [False, True] if step < len(self._path.second) else [False]
        farthest = max(self._reach(self._timestep(step, second=second)) for second in ends)
        return self._curvature * farthest <= self._tolerance

    def _timestep(self, step: int, *, second: bool = False) -> float:
        return self._path.second[step].timestep if second else self._path.timesteps[step]

    def _line(self, timestep: float) -> Latents:
        (before, x0_before), (last, x0) = self._known
        return x0 + (x0 - x0_before) * ((timestep - last) / (last - before))

    def _reach(self, timestep: float) -> float:
        """What the error of the line grows with: the product of the distances from both points (Newton's remainder)."""
        return abs((timestep - self._known[0][0]) * (timestep - self._known[1][0]))
