"""Rows that steer by their own scales, together and alone, through a real Triton."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from model_tools.goldens import adapter_cases as golden_adapters
from model_tools.goldens.adapter_cases import AdapterCase
from orchestrator.diffusion.noise import step_noise
from orchestrator.models.contracts import AddedRows, ControlRows, ImageRows
from tests.golden.adapter_cases import named, render, stored
from tests.golden.measure import MIN_PSNR, psnr

if TYPE_CHECKING:
    from orchestrator.arrays import Floats
    from orchestrator.models.contracts import ControlledUnet
    from orchestrator.models.readiness import TritonNetworks


class OneBatch:
    """A controlled UNet whose two callers' rows go to Triton as one request."""

    def __init__(self, unet: ControlledUnet) -> None:
        self._unet = unet
        self._waiting: list[tuple[tuple[Floats, Floats, Floats, ImageRows], asyncio.Future[Floats]]] = []
        self.scales: list[list[float]] = []

    async def __call__(
        self,
        sample: Floats,
        timestep: Floats,
        encoder_hidden_states: Floats,
        control: ControlRows | None,
        image: ImageRows | None,
        added: AddedRows | None = None,
    ) -> Floats:
        assert (control, added) == (None, None)
        assert image is not None
        answer: asyncio.Future[Floats] = asyncio.get_running_loop().create_future()
        self._waiting.append(((sample, timestep, encoder_hidden_states, image), answer))
        if len(self._waiting) == 2:
            (first, first_answer), (second, second_answer) = self._waiting
            self._waiting = []
            joined = [np.concatenate(pair) for pair in zip(first[:3], second[:3], strict=True)]
            embeds = np.concatenate([first[3].embeds, second[3].embeds])
            scale = np.concatenate([first[3].scale, second[3].scale])
            self.scales.append(sorted(scale[:, 0].round(3).tolist()))
            output = await self._unet(joined[0], joined[1], joined[2], None, ImageRows(embeds, scale))
            first_answer.set_result(output[: len(first[0])])
            second_answer.set_result(output[len(first[0]) :])
        return await answer


async def test_two_scales_of_an_image_prompt_in_one_batch_equal_diffusers(source: TritonNetworks) -> None:
    """Each of the two pictures, denoised in the same requests, is the one that diffusers makes at its scale."""
    networks = source.networks("epsilon-leading")
    assert networks.controlled_unet is not None
    batch = OneBatch(networks.controlled_unet)
    cases = named("image-prompt-low"), named("image-prompt-high")
    made = await asyncio.gather(*(render(case, replace(networks, controlled_unet=batch)) for case in cases))
    np.testing.assert_allclose(batch.scales, [[0.4, 0.4, 0.9, 0.9]] * 8)
    for case, (picture, _) in zip(cases, made, strict=True):
        assert psnr(picture, stored(case)[0]) >= MIN_PSNR


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
    assert networks.unet is not None
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
