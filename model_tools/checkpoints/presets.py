"""How a family is used where a request says nothing, as data: few-step models, and what schedulers call themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from model_tools.checkpoints.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Preset:
    """A family's defaults.

    Attributes:
        sampler: by the names of orchestrator/params.
        steps, guidance: 1 and less for none.
        spacing: of timesteps; None for the checkpoint's own.
    """

    sampler: str
    steps: int
    guidance: float
    spacing: str | None = None


FEW_STEPS: Mapping[str, Preset] = {
    # Luo et al. 2023, arXiv:2310.04378 and 2311.05556: 2 to 8 steps; the guidance is distilled into the weights.
    "lcm": Preset("lcm", 4, 1.0, "trailing"),
    # Sauer et al. 2023, arXiv:2311.17042, and its model card: 1 to 4 steps, no guidance, sampler with new noise.
    "turbo": Preset("euler_ancestral", 4, 1.0, "trailing"),
    # Lin et al. 2024, arXiv:2402.13929, and its model card: Euler, trailing, no guidance, as many steps as trained for.
    "lightning": Preset("euler", 4, 1.0, "trailing"),
}
"""By the words of --few-step."""

EMBEDDED = Preset("lcm", 4, 8.0, "trailing")
"""Of a UNet that takes the guidance scale as an input: a latent consistency model with guidance of Luo et al. 2023."""

USUAL: Mapping[str, Preset] = {"sd": Preset("dpmpp_2m", 25, 7.5), "sdxl": Preset("dpmpp_2m", 30, 5.0)}
"""By architecture; guidance as diffusers' pipelines have it."""

SAMPLERS: Mapping[str, str] = {
    "DDIMScheduler": "ddim",
    "EulerDiscreteScheduler": "euler",
    "EulerAncestralDiscreteScheduler": "euler_ancestral",
    "DPMSolverMultistepScheduler": "dpmpp_2m",
    "LCMScheduler": "lcm",
}
"""Ours by the class of a checkpoint's scheduler; others get the usual one."""


def choose(
    architecture: str, scheduler: Mapping[str, object], few_step: str | None, *, embedded: bool = False
) -> Preset:
    """The defaults of a checkpoint: its few-step preset, or the usual one with its scheduler's sampler.

    Args:
        architecture: "sd" or "sdxl".
        scheduler: the checkpoint's configuration of it.
        few_step: the word of --few-step.
        embedded: whether its UNet takes the guidance scale as an input.

    Raises:
        CheckpointError: --few-step says something else than the UNet is.
    """
    if embedded and few_step not in (None, "lcm"):
        raise CheckpointError(f"the UNet takes the guidance scale as an input, as --few-step lcm does, not {few_step}")
    if embedded:
        return EMBEDDED
    if few_step:
        return FEW_STEPS[few_step]
    usual = USUAL[architecture]
    sampler = SAMPLERS.get(str(scheduler.get("_class_name")), usual.sampler)
    if sampler == "dpmpp_2m" and scheduler.get("use_karras_sigmas"):
        sampler = "dpmpp_2m_karras"
    return Preset(sampler, usual.steps, usual.guidance)


def of_transformer(usual: Preset, title: str, few_step: str | None) -> Preset:
    """The defaults of a transformer's checkpoint.

    Raises:
        CheckpointError: --few-step is given, which is for UNets.
    """
    if few_step:
        raise CheckpointError(f"--few-step is for Stable Diffusion and SDXL; of {title} say --steps and --guidance")
    return usual
