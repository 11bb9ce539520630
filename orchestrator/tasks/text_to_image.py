"""A picture from text alone."""

import asyncio
import secrets
from dataclasses import dataclass

from orchestrator.diffusion.guidance import needs_unconditional
from orchestrator.diffusion.latents import Size, choose_bucket
from orchestrator.diffusion.pipeline import Listener, Pipeline, PipelineInputs, Stage, StepDone, Timer
from orchestrator.imaging import codec, geometry
from orchestrator.imaging.codec import Encoded
from orchestrator.models.contracts import Networks
from orchestrator.models.families import Family
from orchestrator.params import OutputParams, RequestParams

DRAWN_SEED_BITS = 32
"""Drawn seeds stay short enough to be typed, and exact in every JSON reader."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A request with everything decided that it left open. Holds no text: prompts may be long, and jobs are kept."""

    family: str
    inputs: PipelineInputs
    size: Size
    output: OutputParams
    preview_interval: int
    prompt_tokens_cut: int

    @property
    def cost(self) -> float:
        """Work of the request: pixels that the UNet sees, over all steps and guidance rows."""
        width, height = self.inputs.size
        rows = 2 if needs_unconditional(self.inputs.guidance_scale) else 1
        return float(width * height * rows * self.inputs.steps)


async def plan(params: RequestParams, family: Family, pipeline: Pipeline) -> Plan:
    """Fill in what the request left to the family, and draw a seed if it has none.

    Raises:
        InvalidRequestError: the sampler cannot walk the steps.
    """
    size = (
        params.size.width or params.size.height or family.default_width,
        params.size.height or params.size.width or family.default_height,
    )
    sampler = params.sampler or family.default_sampler
    steps = params.steps or family.default_steps
    pipeline.check_steps(sampler, steps)
    prompt = await asyncio.to_thread(pipeline.tokenize, family.full_prompt(params.prompt))
    negative_prompt = await asyncio.to_thread(pipeline.tokenize, params.negative_prompt)
    inputs = PipelineInputs(
        prompt_ids=prompt.ids,
        negative_ids=negative_prompt.ids,
        size=choose_bucket(family.networks.buckets, *size),
        seed=secrets.randbits(DRAWN_SEED_BITS) if params.seed is None else params.seed,
        sampler=sampler,
        steps=steps,
        guidance_scale=family.default_guidance_scale if params.guidance_scale is None else params.guidance_scale,
    )
    return Plan(family.name, inputs, size, params.output, params.preview_interval, prompt.dropped)


async def run(plan: Plan, pipeline: Pipeline, networks: Networks, listener: Listener, timer: Timer) -> Encoded:
    """Make the picture and write it as the file that was asked for.

    Raises:
        What Pipeline.run and codec.encode raise.
    """
    pixels = await pipeline.run(networks, plan.inputs, listener, timer)
    async with timer.stage(Stage.FINISH):
        resized = await asyncio.to_thread(geometry.cover, pixels, *plan.size)
        encoded = await asyncio.to_thread(codec.encode, resized, plan.output)
    await listener(StepDone(Stage.FINISH, 1, 1))
    return encoded
