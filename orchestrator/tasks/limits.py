"""Numbers of tasks that the plan and the work both need."""

from orchestrator.params import MAX_FIDELITY, MIN_FIDELITY

GENERATION_SIDE = 2048
"""Upscaling paints pictures of at most this width and height, pixels; what is larger is enlarged plainly after it."""
COMPOSED_SIDE, COMPOSED_PIXELS = 4096, 4096 * 4096
"""Pictures are composed up to this side and this many pixels; what is larger is enlarged as the file is written."""
WEBP_SIDE = 16_383
"""The format's own limit (RFC 9649, 2.7)."""
MAX_UPSCALE_STRENGTH, MIN_UPSCALE_STRENGTH = 0.6, 0.1
"""Strength of upscaling at the least and at the most fidelity."""
MAX_SOURCE_BLEND = 0.8
"""Share of the plain enlargement in the result at the most fidelity; none is in it at the least."""


def kept_share(fidelity: int) -> float:
    """How much of the source's detail back projection keeps where nothing is painted: 0 at fidelity 1, 1 at 9."""
    return _share(fidelity)


def upscale_strength(fidelity: int) -> float:
    """How much upscaling repaints: MAX_UPSCALE_STRENGTH at fidelity 1, MIN_UPSCALE_STRENGTH at 9, linear between."""
    return MAX_UPSCALE_STRENGTH + _share(fidelity) * (MIN_UPSCALE_STRENGTH - MAX_UPSCALE_STRENGTH)


def source_blend(fidelity: int) -> float:
    """How much of the result is the plain enlargement: 0 at fidelity 1, MAX_SOURCE_BLEND at 9, linear between.

    The strength alone is not enough: what the VAE loses of a picture is lost at any strength.
    """
    return _share(fidelity) * MAX_SOURCE_BLEND


def _share(fidelity: int) -> float:
    return float(fidelity - MIN_FIDELITY) / (MAX_FIDELITY - MIN_FIDELITY)
