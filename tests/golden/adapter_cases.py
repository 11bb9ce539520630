"""The adapters' golden cases in our pipeline."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from model_tools.goldens import adapter_cases as golden_adapters
from model_tools.goldens import cases as golden_cases
from model_tools.goldens.adapter_cases import CASES, AdapterCase
from orchestrator.diffusion.inputs import Control, ImagePrompt, PipelineInputs, Start
from orchestrator.diffusion.pipeline import Pipeline
from orchestrator.diffusion.stages import StepDone, Timer
from orchestrator.models.families import Families
from orchestrator.params import SamplerName
from tests.golden.measure import NotingDecoder

if TYPE_CHECKING:
    from orchestrator.arrays import Floats, Pixels
    from orchestrator.models.contracts import Networks

FAMILIES = Families.load(golden_cases.GOLDEN / "adapters/families.toml")


async def ignore(_done: StepDone) -> None:
    """Report progress to nobody."""


def family_of(case: AdapterCase) -> str:
    return "inpainting" if case.nine_channels else f"{case.prediction}-{case.spacing}"


def inputs(case: AdapterCase, pipeline: Pipeline) -> PipelineInputs:
    """What the case gives diffusers, in our words."""
    control = np.asarray(golden_adapters.control().transpose(2, 0, 1) / 255, np.float32)
    return PipelineInputs(
        prompt_ids=pipeline.tokenize(golden_cases.PROMPT).ids,
        negative_ids=pipeline.tokenize(golden_cases.NEGATIVE_PROMPT).ids,
        size=golden_cases.PICTURE_SIZE,
        seed=golden_cases.SEED,
        sampler=SamplerName(case.sampler),
        steps=case.case.steps,
        guidance_scale=golden_cases.GUIDANCE_SCALE,
        start=None if case.strength is None else Start(golden_adapters.start(), case.strength),
        mask=golden_adapters.mask() if case.mask else None,
        control=None if case.control_scale is None else Control(control, case.control_scale),
        image_prompt=None
        if case.image_scale is None
        else ImagePrompt(golden_adapters.image_prompt(), case.image_scale),
    )


async def render(case: AdapterCase, networks: Networks, **changes: Any) -> tuple[Pixels, Floats]:
    """Picture and last latents."""
    pipeline = Pipeline(FAMILIES.get(family_of(case)), FAMILIES.folder)
    decoder = NotingDecoder(networks.vae_decoder)
    asked = replace(inputs(case, pipeline), **changes)
    picture = await pipeline.run(replace(networks, vae_decoder=decoder), asked, ignore, Timer("golden"))
    return picture, decoder.latents[0] * FAMILIES.get(None).networks.scaling_factor


def stored(case: AdapterCase) -> tuple[Pixels, Floats]:
    arrays = np.load(golden_adapters.ADAPTER_PICTURES)
    return arrays[f"{case.name}-picture"], arrays[f"{case.name}-latents"]


def named(name: str) -> AdapterCase:
    return next(case for case in CASES if case.name == name)
