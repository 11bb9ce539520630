"""A picture from text alone."""

import asyncio

from orchestrator.diffusion.latents import choose_bucket
from orchestrator.diffusion.pipeline import PipelineInputs, Stage
from orchestrator.imaging import codec, geometry
from orchestrator.tasks.plan import Plan, text_size
from orchestrator.tasks.workshop import Begun, Made, Workshop


async def make(plan: Plan, workshop: Workshop) -> Made:
    """Paint at the nearest of the family's sizes, and cover the size that was asked for. Raises as tasks.run does."""
    size = text_size(plan.size, workshop.family)
    bucket = choose_bucket(workshop.family.networks.buckets, *size)
    workshop.begin(Begun(bucket))
    inputs = PipelineInputs(
        prompt_ids=plan.prompt_ids,
        negative_ids=plan.negative_ids,
        size=bucket,
        seed=plan.seed,
        sampler=plan.sampler,
        steps=plan.steps,
        guidance_scale=plan.guidance_scale,
    )
    pixels = await workshop.pipeline.run(workshop.painting, inputs, workshop.listener, workshop.timer)
    async with workshop.stage(Stage.FINISH):
        resized = await asyncio.to_thread(geometry.cover, pixels, *size)
        encoded = await asyncio.to_thread(codec.encode, resized, plan.output)
    return Made(encoded, *size, plan.steps, plan.sampler)
