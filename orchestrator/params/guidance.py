"""How guidance works in a request: when it is on, and how two predictions become one."""

from dataclasses import dataclass
from enum import StrEnum

from orchestrator.params.violations import Violations

MAX_NORM_THRESHOLD = 10_000.0


class GuidanceMethod(StrEnum):
    """How the predictions with and without the prompt become one; diffusion/guidance.py holds the papers."""

    CFG = "cfg"
    APG = "apg"
    CFG_ZERO_STAR = "cfg_zero_star"


@dataclass(frozen=True, slots=True, kw_only=True)
class GuidanceParams:
    """What a request asks of guidance; None for the family's default.

    Attributes:
        start: share of the steps before guidance begins, 0 to 1.
        end: share of the steps after which it ends, start to 1; at `start` there is none.
        rescale: how far the deviation of the prediction with the prompt is restored, 0 to 1.
        method: see GuidanceMethod.
        eta: of APG, how much of the part along the prompt's own prediction is kept, 0 to 1.
        norm_threshold: of APG, the longest that a change may be, 0 (no bound) to 10,000.
        momentum: of APG, the share of the changes before that is added, -1 to 1.
    """

    start: float | None = None
    end: float | None = None
    rescale: float | None = None
    method: GuidanceMethod | None = None
    eta: float | None = None
    norm_threshold: float | None = None
    momentum: float | None = None

    def validate(self, violations: Violations) -> None:
        """Note what is out of range."""
        for name in ("start", "end", "rescale", "eta"):
            violations.within(f"guidance.{name}", getattr(self, name), 0, 1)
        violations.within("guidance.norm_threshold", self.norm_threshold, 0, MAX_NORM_THRESHOLD)
        violations.within("guidance.momentum", self.momentum, -1, 1)
        for name in ("eta", "norm_threshold", "momentum"):
            is_used = getattr(self, name) is None or self.method is GuidanceMethod.APG
            violations.check(f"guidance.{name}", is_used, "works with guidance.method apg only")


@dataclass(frozen=True, slots=True, kw_only=True)
class Guidance:
    """GuidanceParams with everything decided. APG's defaults are the paper's for SDXL (Sadat et al. 2024, table 9)."""

    start: float = 0.0
    end: float = 1.0
    rescale: float = 0.0
    method: GuidanceMethod = GuidanceMethod.CFG
    eta: float = 0.0
    norm_threshold: float = 15.0
    momentum: float = -0.5

    def is_on(self, step: int, steps: int) -> bool:
        """Whether a step of the whole walk, from 0, is guided: from int(start * steps) up to int(end * steps)."""
        return int(self.start * steps) <= step < int(self.end * steps)
