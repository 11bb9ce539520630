"""Numbers of tasks that the plan and the work both need."""

from orchestrator.params import MAX_FIDELITY, MIN_FIDELITY

GENERATION_SIDE = 2048
"""Upscaling paints pictures of at most this width and height, pixels; what is larger is enlarged plainly after it."""
BOLDEST, FAINTEST = 0.6, 0.1
"""Strength of upscaling at the least and at the most fidelity."""


def upscale_strength(fidelity: int) -> float:
    """How much of a picture upscaling paints anew: BOLDEST at fidelity 1, FAINTEST at 9, linear between."""
    share = (fidelity - MIN_FIDELITY) / (MAX_FIDELITY - MIN_FIDELITY)
    return BOLDEST + share * (FAINTEST - BOLDEST)
