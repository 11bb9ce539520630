"""Our pipeline through a real Triton against diffusers' StableDiffusionPipeline: same weights, prompt and noise."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pytest

from model_tools.goldens import cases as golden_cases
from model_tools.goldens.cases import PICTURE_CASES, Case
from orchestrator.diffusion.inputs import PipelineInputs
from orchestrator.diffusion.pipeline import Pipeline
from orchestrator.diffusion.stages import StepDone, Timer
from orchestrator.models.families import Families
from orchestrator.models.pool import TritonPool
from orchestrator.models.readiness import TritonNetworks
from orchestrator.params import Guidance, GuidanceMethod, SamplerName
from tests.golden.measure import MAX_LATENT_ERROR, MIN_PSNR, NotingDecoder, psnr

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from orchestrator.models.contracts import Networks

FAMILIES = Families.load(golden_cases.GOLDEN / "families.toml")


@pytest.fixture
async def triton_networks(tiny_triton: int) -> AsyncIterator[TritonNetworks]:
    """The tiny model's networks, served by Triton at that port."""
    server = TritonPool(f"127.0.0.1:{tiny_triton}", timeout_seconds=60)
    networks = TritonNetworks(server, FAMILIES)
    await networks.refresh()
    yield networks
    await server.close()


ALWAYS = Guidance()


async def ignore(_done: StepDone) -> None:
    """Report progress to nobody."""


async def render(case: Case, networks: Networks, negative: str, guidance: Guidance = ALWAYS) -> npt.NDArray[np.uint8]:
    family = FAMILIES.get(f"{case.prediction}-{case.spacing}")
    pipeline = Pipeline(family, FAMILIES.folder)
    inputs = PipelineInputs(
        prompt_ids=pipeline.tokenize(family.full_prompt(golden_cases.PROMPT)).ids,
        negative_ids=pipeline.tokenize(negative).ids,
        size=golden_cases.PICTURE_SIZE,
        seed=golden_cases.SEED,
        sampler=SamplerName(case.sampler),
        steps=case.steps,
        guidance_scale=golden_cases.GUIDANCE_SCALE,
        guidance=guidance,
    )
    return await pipeline.run(networks, inputs, ignore, Timer(family.name))


@pytest.mark.parametrize("case", PICTURE_CASES, ids=lambda case: case.name)
async def test_picture_equals_diffusers(
    case: Case, triton_networks: TritonNetworks, record_property: Callable[[str, object], None]
) -> None:
    networks = triton_networks.networks(f"{case.prediction}-{case.spacing}")
    decoder = NotingDecoder(networks.vae_decoder)
    picture = await render(case, dataclasses.replace(networks, vae_decoder=decoder), golden_cases.NEGATIVE_PROMPT)

    stored = np.load(golden_cases.PICTURES)
    expected = stored[f"{case.name}-latents"]
    scaling_factor = FAMILIES.get(None).networks.scaling_factor
    error = np.abs(decoder.latents[0] * scaling_factor - expected).max() / np.abs(expected).max()
    ratio = psnr(picture, stored[f"{case.name}-picture"])
    record_property("psnr_db", ratio)
    record_property("latent_error", float(error))
    print(f"{case.name}: {ratio:.1f} dB, latents within {error:.1e} of their largest")  # noqa: T201 - the measure
    assert error <= MAX_LATENT_ERROR
    assert ratio >= MIN_PSNR


async def test_goldens_notice_a_forgotten_negative_prompt(triton_networks: TritonNetworks) -> None:
    """The bar means something: what a real fault does to a picture is far below it."""
    (case,) = [case for case in PICTURE_CASES if case.name == "dpmpp_2m-v_prediction-trailing-8"]
    picture = await render(case, triton_networks.networks("v_prediction-trailing"), "")
    assert psnr(picture, np.load(golden_cases.PICTURES)[f"{case.name}-picture"]) < MIN_PSNR - 10


def test_families_pad_with_the_tokenizers_end_token() -> None:
    """As Stable Diffusion 1.x does. Another id would only show as pictures of something else."""
    special = {
        token["content"]: token["id"] for token in json.loads(golden_cases.TOKENIZER.read_text())["added_tokens"]
    }
    assert {family.networks.pad_id for family in FAMILIES} == {special["<|endoftext|>"]}


def test_pictures_were_generated_by_the_committed_graphs() -> None:
    manifest = json.loads(golden_cases.MANIFEST.read_text())
    assert manifest["pictures"]["graph_sha256"] == golden_cases.graph_digests()


async def test_every_sampler_and_guidance_gives_the_same_bytes_in_company(triton_networks: TritonNetworks) -> None:
    """Requests of other samplers and intervals share batches: a step of theirs has one row, or two."""
    settings = [
        *((sampler.value, ALWAYS) for sampler in SamplerName),
        ("euler", Guidance(start=0.25, end=0.75)),
        ("ddim", Guidance(end=0.5, rescale=0.7)),
        ("heun", Guidance(method=GuidanceMethod.APG, end=0.6)),
        ("dpmpp_2m", Guidance(method=GuidanceMethod.CFG_ZERO_STAR)),
    ]
    networks = triton_networks.networks("epsilon-trailing")

    async def picture(sampler: str, guidance: Guidance) -> npt.NDArray[np.uint8]:
        case = Case(sampler, "epsilon", "trailing", golden_cases.PICTURE_STEPS)
        return await render(case, networks, golden_cases.NEGATIVE_PROMPT, guidance)

    alone = [await picture(*each) for each in settings]
    together = await asyncio.gather(*(picture(*each) for each in settings))
    for each, one, other in zip(settings, alone, together, strict=True):
        assert (one == other).all(), each
    assert len({one.tobytes() for one in alone[len(SamplerName) :]}) == len(settings) - len(SamplerName)
