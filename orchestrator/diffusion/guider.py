"""Which steps of a request are guided, and how: all of them, or those of an interval.

Limited to an interval of noise levels guidance costs less and keeps variety (Kynkäänniemi et al. 2024): outside of it
a step has one row, the prompt's own.
"""

from __future__ import annotations

import numpy as np

from orchestrator.arrays import Floats
from orchestrator.diffusion.guidance import guide, projected, rescaled, zero_star
from orchestrator.params import Guidance, GuidanceMethod


def rows_of(kind: str, guidance_scale: float, guidance: Guidance) -> int:
    """Most rows of a step's network call for one picture: 2 where the prediction without the prompt is needed, too.

    Args:
        kind: of the family, NetworkTable.guidance.
        guidance_scale: at 1 the prediction without the prompt cancels out of `guide`. Below 1, too, there is no
            guidance, as in diffusers: few-step models are distilled without it, and come with 0.
        guidance: when it is on.
    """
    return 2 if kind == "classifier_free" and guidance_scale > 1.0 and guidance.start < guidance.end else 1


class Guider:
    """One request's guidance: which steps have which rows, and how their predictions become one.

    Holds APG's running average, of the request's own predictions alone.
    """

    def __init__(
        self, *, kind: str, scale: float, guidance: Guidance, steps: int, first: int, flows: bool, norm_patch: int
    ) -> None:
        """Of a walk.

        Args:
            kind: of the family, NetworkTable.guidance.
            scale: guidance_scale.
            guidance: when it is on, and by which method.
            steps: of the whole walk.
            first: of them, where this walk begins.
            flows: whether it is one of flow matching.
            norm_patch: as of `guide`.
        """
        self._most, self._scale, self._guidance = rows_of(kind, scale, guidance), scale, guidance
        self._steps, self._first, self._flows, self._norm_patch = steps, first, flows, norm_patch
        self._average: Floats | None = None

    def rows(self, step: int) -> int:
        """Rows of the network call at a step of this walk, from 0.

        None where CFG-Zero* has the first step of flow matching stand still, which is known without the network.
        """
        at = self._first + step
        if self._most == 1:
            return 1
        if self._guidance.method is GuidanceMethod.CFG_ZERO_STAR and self._flows and at == 0:
            return 0
        return 2 if self._guidance.is_on(at, self._steps) else 1

    def __call__(self, output: Floats) -> Floats:
        """Join a step's predictions, (rows, ...) as [unconditional, conditional], to one (1, ...)."""
        if len(output) == 1:
            return output
        unconditional, conditional = np.split(output, 2)
        method = self._guidance.method
        if method is GuidanceMethod.APG:
            guided = self._projected(unconditional, conditional)
        elif method is GuidanceMethod.CFG_ZERO_STAR:
            guided = guide(zero_star(unconditional, conditional), conditional, self._scale)
        else:
            guided = guide(unconditional, conditional, self._scale, self._norm_patch)
        if self._guidance.rescale > 0:
            guided = rescaled(guided, conditional, self._guidance.rescale)
        return guided

    def _projected(self, unconditional: Floats, conditional: Floats) -> Floats:
        change = conditional - unconditional
        if self._average is not None:
            change = change + self._guidance.momentum * self._average
        self._average = change
        return unconditional + float(self._scale) * projected(
            change, conditional, self._guidance.eta, self._guidance.norm_threshold
        )
