"""Control pictures of several kinds, and families that lack a UNet, in the one pipeline over formulas."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from orchestrator.diffusion import noise
from orchestrator.diffusion.inputs import Control, ImagePrompt, PipelineInputs, Start
from orchestrator.diffusion.stages import Timer
from orchestrator.errors import UnsupportedTaskError
from orchestrator.models.fakes import FakeNetworks
from orchestrator.params import SamplerName
from tests.unit.orchestrator.world import FAMILIES, World, build

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.arrays import Floats
    from orchestrator.diffusion.stages import StepDone
    from orchestrator.models.contracts import AddedRows, ControlRows, ImageRows

SIZE = (160, 96)
PICTURE = np.random.default_rng(0).integers(0, 255, (96, 160, 3)).astype(np.uint8)
SHOWN: Floats = np.abs(noise.start_noise(1, (3, 96, 160)))
MASK: Floats = np.ones((96, 160), np.float32)


@pytest.fixture
def world(tmp_path: Path) -> World:
    lines = 'pad_id = 0\ntile = [64, 32]\ncontrol_kinds = ["canny", "depth", "pose"]'
    return build(tmp_path, families=FAMILIES.replace("pad_id = 0", lines))


def inputs(world: World, **changes: Any) -> PipelineInputs:
    plain = PipelineInputs(
        prompt_ids=world.pipeline.tokenize("red house").ids,
        negative_ids=world.pipeline.tokenize("good").ids,
        size=SIZE,
        seed=7,
        sampler=SamplerName.DDIM,
        steps=1,
        guidance_scale=2.0,
    )
    return replace(plain, **changes)


async def ignore(_done: StepDone) -> None:
    return


@pytest.mark.parametrize("kind", [0, 1, 2])
async def test_the_other_kinds_are_zeros(world: World, kind: int) -> None:
    """In every tile and guidance row."""
    seen: list[ControlRows] = []

    async def unet(
        sample: Floats,
        timestep: Floats,
        encoder_hidden_states: Floats,
        control: ControlRows | None,
        image: ImageRows | None,
        added: AddedRows | None = None,
    ) -> Floats:
        assert control is not None
        assert (image, added) == (None, None)
        assert len(timestep) == len(encoder_hidden_states) == len(sample)
        seen.append(control)
        return sample

    networks = replace(world.networks.networks("small"), controlled_unet=unet)
    await world.pipeline.run(networks, inputs(world, control=Control(SHOWN, 0.5, kind)), ignore, Timer("small"))
    assert len(seen) == 3
    for control in seen:
        assert control.image.shape == (8, 9, 32, 64)
        own = slice(3 * kind, 3 * kind + 3)
        assert (control.image[:, own].reshape(8, -1).max(axis=1) > 0).all()
        assert not np.delete(control.image, own, axis=1).any()
        np.testing.assert_array_equal(control.scale, np.full((8, 1), 0.5) * (np.arange(3) == kind))
        np.testing.assert_array_equal(control.image[:4], control.image[4:])
    np.testing.assert_array_equal(seen[0].image[0, 3 * kind : 3 * kind + 3], SHOWN[:, :32, :64])


async def test_each_kind_makes_another_picture(world: World) -> None:
    networks, size = world.networks.networks("small"), (64, 32)
    pictures = [
        await world.pipeline.run(
            networks, inputs(world, size=size, control=Control(SHOWN[:, :32, :64], 0.5, kind)), ignore, Timer("small")
        )
        for kind in range(3)
    ]
    assert all((first != second).any() for first, second in pairwise(pictures))


async def test_a_kind_that_is_not_there_is_a_fault_of_the_caller(world: World) -> None:
    with pytest.raises(ValueError, match="control kind 3 is not one of 3"):
        await world.pipeline.run(
            world.networks.networks("small"), inputs(world, control=Control(SHOWN, 0.5, 3)), ignore, Timer("small")
        )


async def test_without_kinds_control_is_refused(tmp_path: Path) -> None:
    world = build(tmp_path, families=FAMILIES.replace("pad_id = 0", "pad_id = 0\ncontrol_kinds = []"))
    with pytest.raises(UnsupportedTaskError, match="no control kinds"):
        await world.pipeline.run(
            world.networks.networks("small"), inputs(world, control=Control(SHOWN, 0.5)), ignore, Timer("small")
        )


@pytest.mark.parametrize(
    ("changes", "missing"),
    [
        ({}, "unet"),
        ({"start": Start(PICTURE, 0.5)}, "unet"),
        ({"start": Start(PICTURE, 1.0), "mask": MASK}, None),
        ({"start": Start(PICTURE, 0.5), "mask": MASK}, None),
        ({"start": Start(PICTURE, 1.0), "mask": MASK, "control": Control(SHOWN, 0.5)}, "controlled unet"),
        (
            {"start": Start(PICTURE, 1.0), "mask": MASK, "image_prompt": ImagePrompt(PICTURE[:, :96], 0.5)},
            "controlled unet and no image encoder",
        ),
    ],
)
async def test_an_inpainting_unet_alone_needs_a_mask_and_nothing_that_steers(
    world: World, changes: dict[str, Any], missing: str | None
) -> None:
    source = FakeNetworks(
        without=frozenset({"unet", "controlled_unet", "image_encoder", "face_encoder", "text_encoder_2"})
    )
    asked = inputs(world, **changes)
    if missing is None:
        assert (await world.pipeline.run(source.networks("small"), asked, ignore, Timer("small"))).shape == (96, 160, 3)
        return
    with pytest.raises(UnsupportedTaskError, match=f"no {missing}, which"):
        await world.pipeline.run(source.networks("small"), asked, ignore, Timer("small"))
    assert source.calls == 0
