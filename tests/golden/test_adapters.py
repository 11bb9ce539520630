"""Start pictures, masks, control and image prompts through a real Triton, against diffusers' pipelines."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from model_tools import golden_adapters, golden_cases
from model_tools.golden_adapters import CASES, VAE_TILE, AdapterCase
from orchestrator.diffusion.latents import from_pixels
from orchestrator.diffusion.noise import start_noise, step_noise
from orchestrator.diffusion.pipeline import Control, ImagePrompt, Pipeline, PipelineInputs, Stage, Start, Timer
from orchestrator.diffusion.stages import Calls, StepDone, Steps
from orchestrator.diffusion.vae import Vae
from orchestrator.models.contracts import ControlRows, ImageRows
from orchestrator.models.families import Families
from orchestrator.models.readiness import TritonNetworks
from orchestrator.models.triton import TritonServer
from orchestrator.params import SamplerName
from tests.golden.measure import MAX_LATENT_ERROR, MIN_PSNR, NotingDecoder, psnr

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from orchestrator.diffusion.latents import Pixels
    from orchestrator.models.contracts import Floats, Networks

FAMILIES = Families.load(golden_cases.GOLDEN / "adapters/families.toml")


@pytest.fixture(scope="module")
def triton_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Port of a Triton with the adapters' networks beside the tiny model's."""
    from local import triton  # noqa: PLC0415  # the tests of model_tools run where there is no tritonclient

    repositories = [golden_cases.GOLDEN / "model_repository", golden_adapters.ADAPTERS]
    with triton.running(repositories, tmp_path_factory.mktemp("triton")) as server:
        yield server.grpc_port


@pytest.fixture
async def source(triton_port: int) -> AsyncIterator[TritonNetworks]:
    server = TritonServer(f"127.0.0.1:{triton_port}", timeout_seconds=60)
    networks = TritonNetworks(server, FAMILIES)
    await networks.refresh()
    yield networks
    await server.close()


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


async def test_requests_of_every_task_at_once_get_what_they_get_alone(source: TritonNetworks) -> None:
    """Two scales of an image prompt, control, and text alone: together, through Triton's batcher, the same bytes."""
    names = ("image-prompt-low", "image-prompt-high", "control", "control-image-prompt")
    cases = [*map(named, names), AdapterCase("plain", "ddim")]
    networks = source.networks("epsilon-leading")
    alone = [await render(case, networks) for case in cases]
    together = await asyncio.gather(*(render(case, networks) for case in cases))
    for (picture, latents), (shared_picture, shared_latents) in zip(alone, together, strict=True):
        np.testing.assert_array_equal(picture, shared_picture)
        np.testing.assert_array_equal(latents, shared_latents)


@dataclass
class Rows:
    """Eight rows of everything that a controlled UNet takes, each its own."""

    sample: Floats
    timestep: Floats
    hidden: Floats
    control: ControlRows
    image: ImageRows

    def some(self, rows: slice) -> tuple[Floats, Floats, Floats, ControlRows, ImageRows]:
        control = ControlRows(self.control.image[rows], self.control.scale[rows])
        image = ImageRows(self.image.embeds[rows], self.image.scale[rows])
        return self.sample[rows], self.timestep[rows], self.hidden[rows], control, image


def rows(*, control_scale: float | None = None, image_scale: float | None = None) -> Rows:
    """Scales of 0, 1/8 .. 7/8, or those that are given."""
    eighths: Floats = np.arange(8, dtype=np.float32)[:, None] / np.float32(8)
    edges = (step_noise(1, 1, (8, 3, 64, 96)) > 1).astype(np.float32)
    scales = [eighths if scale is None else np.full_like(eighths, scale) for scale in (control_scale, image_scale)]
    return Rows(
        step_noise(1, 0, (8, 4, 8, 12)),
        np.asarray(1000 * eighths[::-1], np.float32),
        step_noise(1, 2, (8, 77, 32)),
        ControlRows(edges, scales[0]),
        ImageRows(step_noise(1, 3, (8, golden_adapters.TOKENS, 32)), scales[1]),
    )


async def test_a_row_of_zero_scales_is_the_plain_unets(source: TritonNetworks) -> None:
    """Bit for bit; and scales that are not zero change something."""
    networks, zero = source.networks("epsilon-leading"), rows(control_scale=0, image_scale=0)
    assert networks.controlled_unet is not None
    plain = await networks.unet(zero.sample, zero.timestep, zero.hidden)
    np.testing.assert_array_equal(await networks.controlled_unet(*zero.some(slice(8))), plain)
    np.testing.assert_array_equal(
        await networks.controlled_unet(zero.sample, zero.timestep, zero.hidden, None, None), plain
    )
    for steered in (rows(control_scale=0), rows(image_scale=0)):
        output = await networks.controlled_unet(*steered.some(slice(8)))
        np.testing.assert_array_equal(output[0], plain[0])
        assert all(np.abs(output[row] - plain[row]).max() > 1e-3 for row in range(1, 8))


async def test_no_row_depends_on_the_others(source: TritonNetworks) -> None:
    """Every row its own scales: the same bits in any batch."""
    unet, given = source.networks("epsilon-leading").controlled_unet, rows()
    assert unet is not None
    whole = await unet(*given.some(slice(8)))
    for size in (1, 2, 3, 5):
        parts = [await unet(*given.some(slice(at, at + size))) for at in range(0, 8, size)]
        np.testing.assert_array_equal(np.concatenate(parts), whole)


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


def test_pictures_were_made_of_the_committed_graphs() -> None:
    manifest = json.loads(golden_cases.MANIFEST.read_text())
    digests = golden_cases.graph_digests() | golden_adapters.graph_digests()
    assert manifest["adapters"]["graph_sha256"] == digests
