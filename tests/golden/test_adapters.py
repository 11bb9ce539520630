"""Start pictures, masks, control and image prompts through a real Triton, against diffusers' pipelines."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from model_tools.goldens import adapter_cases as golden_adapters
from model_tools.goldens import cases as golden_cases
from model_tools.goldens.adapter_cases import CASES, VAE_TILE, AdapterCase
from orchestrator.diffusion.inputs import Control, ImagePrompt, Start
from orchestrator.diffusion.latents import from_pixels
from orchestrator.diffusion.noise import start_noise
from orchestrator.diffusion.stages import Calls, Stage, Steps
from orchestrator.diffusion.vae import Vae
from tests.golden.adapter_cases import FAMILIES, family_of, ignore, named, render, stored
from tests.golden.measure import MAX_LATENT_ERROR, MIN_PSNR, psnr

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.models.readiness import TritonNetworks


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_picture_equals_diffusers(
    case: AdapterCase, source: TritonNetworks, record_property: Callable[[str, object], None]
) -> None:
    picture, latents = await render(case, source.networks(family_of(case)))
    expected, expected_latents = stored(case)
    error = np.abs(latents - expected_latents).max() / np.abs(expected_latents).max()
    ratio = psnr(picture, expected)
    record_property("psnr_db", ratio)
    record_property("latent_error", float(error))
    print(f"{case.name}: {ratio:.1f} dB, latents within {error:.1e} of their largest")  # noqa: T201 - the measure
    assert error <= MAX_LATENT_ERROR
    assert ratio >= MIN_PSNR


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("img2img-ddim", {"start": Start(golden_adapters.start(), 0.8)}),
        ("inpaint-ddim", {"mask": None}),
        ("inpaint9", {"mask": np.ones((64, 96), np.float32)}),
        ("control", {"control": None}),
        ("control", {"control": Control(np.zeros((3, 64, 96), np.float32), 0.8)}),
        ("image-prompt-high", {"image_prompt": None}),
        ("image-prompt-high", {"image_prompt": ImagePrompt(golden_adapters.image_prompt(), 0.8)}),
    ],
)
async def test_goldens_notice_what_is_forgotten(name: str, changes: dict[str, Any], source: TritonNetworks) -> None:
    """The bar means something: what a real fault does to a picture is far below it."""
    case = named(name)
    picture, _ = await render(case, source.networks(family_of(case)), **changes)
    ratio = psnr(picture, stored(case)[0])
    print(f"{name} without {', '.join(changes)}: {ratio:.1f} dB")  # noqa: T201 - the measure
    assert ratio < MIN_PSNR - 5


async def test_tiled_vae_equals_diffusers(source: TritonNetworks) -> None:
    """AutoencoderKL.tiled_encode and tiled_decode, at 168 x 120 in tiles of 64."""
    networks = source.networks("epsilon-leading")
    assert networks.vae_encoder is not None
    table = FAMILIES.get("epsilon-leading").networks.model_copy(update={"vae_tile": VAE_TILE})
    vae, calls = Vae(table, networks.max_rows), Calls()
    steps = Steps(ignore, Stage.DECODE, calls)
    expected = np.load(golden_adapters.ADAPTER_PICTURES)

    latents = await vae.encode(networks.vae_encoder, from_pixels(golden_adapters.large()), steps)
    error = np.abs(latents - expected["tiled-latents"]).max() / np.abs(latents).max()
    width, height = golden_adapters.LARGE_SIZE
    noise = start_noise(golden_cases.SEED, (1, 4, height // 8, width // 8))
    picture = await vae.decode(networks.vae_decoder, noise, steps)
    ratio = psnr(picture, expected["tiled-picture"])
    print(f"tiled: {ratio:.1f} dB, latents within {error:.1e} of their largest")  # noqa: T201 - the measure
    assert error <= MAX_LATENT_ERROR
    assert ratio >= MIN_PSNR
    # 3 x 4 tiles each: full ones share a call in each row of tiles, the narrower ones at its end do not.
    assert calls.count > 2


def test_pictures_were_generated_by_the_committed_graphs() -> None:
    manifest = json.loads(golden_cases.MANIFEST.read_text())
    digests = golden_cases.graph_digests() | golden_adapters.graph_digests()
    assert manifest["adapters"]["graph_sha256"] == digests
