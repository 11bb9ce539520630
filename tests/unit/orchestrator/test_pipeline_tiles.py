"""Pictures beyond the aspect sizes: tiles of the UNet and of the VAE in the one pipeline, over formulas."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from orchestrator.diffusion import noise
from orchestrator.diffusion.inputs import Control, PipelineInputs, Start
from orchestrator.diffusion.stages import Stage, StepDone, Timer
from orchestrator.models.fakes import FakeNetworks
from orchestrator.params import SamplerName
from tests.unit.orchestrator.world import FAMILIES, World, build

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.arrays import Floats
    from orchestrator.models.contracts import ControlRows

SIZE = (160, 96)
"""20 x 12 latents. Tiles are 8 x 4 latents of the UNet, 16 x 16 of the VAE."""
EDGES: Floats = (noise.start_noise(1, (3, 96, 160)) > 1).astype(np.float32)
PICTURE = np.random.default_rng(0).integers(0, 255, (96, 160, 3)).astype(np.uint8)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return build(tmp_path, families=FAMILIES.replace("pad_id = 0", "pad_id = 0\ntile = [64, 32]\nvae_tile = 128"))


def inputs(world: World, **changes: Any) -> PipelineInputs:
    plain = PipelineInputs(
        prompt_ids=world.pipeline.tokenize("red house").ids,
        negative_ids=world.pipeline.tokenize("good").ids,
        size=SIZE,
        seed=7,
        sampler=SamplerName.EULER,
        steps=3,
        guidance_scale=2.0,
    )
    return replace(plain, **changes)


async def ignore(_done: StepDone) -> None:
    return


async def test_a_network_that_sees_each_place_alone_needs_no_tiles(world: World) -> None:
    """The fake UNet is local, so the average of its tiles is what it gives the whole; the fake VAE is, too."""
    asked = inputs(world, start=Start(PICTURE, 0.7), control=Control(EDGES, 0.5))
    networks = world.networks.networks("small")
    tiled = await world.pipeline.run(networks, asked, ignore, Timer("small"))
    table = world.family.networks.model_copy(update={"aspect_sizes": (SIZE,), "vae_tile": 160})
    world.pipeline._table = table
    whole = await world.pipeline.run(networks, asked, ignore, Timer("small"))
    assert tiled.shape == whole.shape == (96, 160, 3)
    assert np.abs(tiled.astype(int) - whole).max() <= 1


async def test_several_tiles_share_a_call_as_the_rows_allow(world: World) -> None:
    """20 x 12 latents are 3 x 4 views; 8 rows are 4 views with guidance."""
    for max_rows, guidance, expected in [(8, 2.0, [8, 8, 8]), (5, 2.0, [4] * 6), (8, 1.0, [8, 4]), (2, 2.0, [2] * 12)]:
        world.networks.rows.clear()
        networks = replace(world.networks.networks("small"), max_rows=max_rows)
        asked = inputs(world, guidance_scale=guidance, steps=1)
        await world.pipeline.run(networks, asked, ignore, Timer("small"))
        assert world.networks.rows == expected


async def test_each_tile_sees_its_own_part_of_the_control_picture(world: World) -> None:
    seen: list[tuple[Floats, ControlRows]] = []
    networks = world.networks.networks("small")

    async def unet(
        sample: Floats, _time: Floats, _hidden: Floats, control: ControlRows, _image: None, _added: None
    ) -> Floats:
        seen.append((sample, control))
        return sample

    await world.pipeline.run(
        replace(networks, controlled_unet=unet),  # type: ignore[arg-type]  # control alone is asked for
        inputs(world, control=Control(EDGES, 0.5), steps=1, sampler=SamplerName.DDIM),
        ignore,
        Timer("small"),
    )
    start = noise.start_noise(7, (1, 4, 12, 20))[0]
    for sample, control in seen:
        for latents, picture in zip(sample, control.image, strict=True):
            ((top, left),) = [
                (y, x) for y in range(9) for x in range(13) if (start[:, y : y + 4, x : x + 8] == latents).all()
            ]
            np.testing.assert_array_equal(picture, EDGES[:, 8 * top : 8 * top + 32, 8 * left : 8 * left + 64])


async def test_a_side_shorter_than_a_tile_is_seen_whole(world: World) -> None:
    samples: list[tuple[int, ...]] = []
    world.networks.on_sample = lambda sample: samples.append(sample.shape)
    await world.pipeline.run(
        world.networks.networks("small"), inputs(world, size=(128, 16), steps=1), ignore, Timer("small")
    )
    assert samples == [(6, 4, 2, 8)]


class StopError(Exception):
    pass


@pytest.mark.parametrize(("stop_at", "calls"), [(1, 1), (2, 2), (4, 5)])
async def test_the_listener_may_stop_between_two_tiles(world: World, stop_at: int, calls: int) -> None:
    """Three calls a step, two ticks; the fourth tick is the second step's second."""
    ticks = 0

    async def listener(done: StepDone) -> None:
        nonlocal ticks
        ticks += done.tick and done.stage is Stage.DENOISE
        if ticks == stop_at:
            raise StopError

    with pytest.raises(StopError):
        await world.pipeline.run(world.networks.networks("small"), inputs(world), listener, Timer("small"))
    assert world.networks.calls == calls


async def test_progress_is_reported_once_a_step(world: World) -> None:
    reported: list[tuple[Stage, int, int]] = []

    async def listener(done: StepDone) -> None:
        if not done.tick:
            reported.append((done.stage, done.step, done.total))

    timer = Timer("small")
    await world.pipeline.run(world.networks.networks("small"), inputs(world), listener, timer)
    steps = [(Stage.DENOISE, step, 3) for step in (1, 2, 3)]
    assert reported == [(Stage.ENCODE, 1, 1), *steps, (Stage.DECODE, 1, 1)]
    # 12 x 20 latents are one row of VAE tiles, the second of 8 latents' width.
    assert [(t.stage, t.calls) for t in timer.stages] == [(Stage.ENCODE, 1), (Stage.DENOISE, 9), (Stage.DECODE, 2)]


async def test_a_cancelled_task_stops_between_two_tiles(world: World) -> None:
    reached = asyncio.Event()
    world.networks.at_call[2] = reached.set
    running = asyncio.create_task(
        world.pipeline.run(world.networks.networks("small"), inputs(world), ignore, Timer("small"))
    )
    world.networks.permits = asyncio.Semaphore(2)
    await reached.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert world.networks.calls == 2


async def test_sizes_off_the_grain_are_refused(tmp_path: Path) -> None:
    world = build(tmp_path, families=FAMILIES.replace("pad_id = 0", "pad_id = 0\nlatent_multiple = 4"))
    with pytest.raises(ValueError, match="not multiples of 32"):
        await world.pipeline.run(FakeNetworks().networks("small"), inputs(world, size=(72, 96)), ignore, Timer("small"))


def test_the_cost_counts_every_tile_and_step_that_is_done(world: World) -> None:
    assert world.pipeline.work(inputs(world, size=(64, 32))) == 64 * 32 * 2 * 3
    assert world.pipeline.work(inputs(world)) == 12 * 64 * 32 * 2 * 3
    assert world.pipeline.work(inputs(world, start=Start(PICTURE, 0.4), guidance_scale=1.0)) == 12 * 64 * 32 * 1 * 1
