"""No seams: the starter through Triton, a picture enlarged in tiles of UNet and VAE against the same in one piece."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pytest

from local import triton
from local.settings import ROOT, Settings
from orchestrator.diffusion.inputs import PipelineInputs, Start
from orchestrator.diffusion.pipeline import Pipeline
from orchestrator.diffusion.stages import StepDone, Timer
from orchestrator.imaging import geometry
from orchestrator.models.families import Families
from orchestrator.models.pool import TritonPool
from orchestrator.models.readiness import TritonNetworks
from orchestrator.params import SamplerName

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from orchestrator.arrays import Pixels
    from orchestrator.models.contracts import Networks

FAMILIES = Families.load(Settings().families)
FAMILY = FAMILIES.get("realistic")
SIDE = 512
TILE = 256
"""Half of what the shipped family has, so that 512 pixels are 9 views of the UNet and 9 tiles of the VAE."""
BORDERS = (128, 192, 256, 384, 448)
"""Where views begin or end (they begin at 0, 128 and 256), and where VAE tiles begin (every 192) or are blended in."""
EXCESS = 0.1
"""How much larger steps at borders may be than those nearby, beyond what the picture in one piece has there."""


@pytest.fixture(scope="module")
def triton_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Port of a Triton that serves the family's networks alone."""
    repository = tmp_path_factory.mktemp("models")
    for name in FAMILY.networks.model_names:
        shutil.copytree(ROOT / "model_repository" / name, repository / name)
    with triton.running([repository], tmp_path_factory.mktemp("triton")) as server:
        yield server.grpc_port


@pytest.fixture
async def networks(triton_port: int) -> AsyncIterator[Networks]:
    server = TritonPool(f"127.0.0.1:{triton_port}", timeout_seconds=120)
    source = TritonNetworks(server, FAMILIES)
    await source.refresh()
    yield source.networks(FAMILY.name)
    await server.close()


async def ignore(_done: StepDone) -> None:
    """Report progress to nobody."""


async def draw(networks: Networks, tile: int, start: Pixels | None) -> Pixels:
    """A small picture from text; or `start`, painted over a little without words, in tiles of that side."""
    pipeline = Pipeline(FAMILY, FAMILIES.folder)
    pipeline._table = FAMILY.networks.model_copy(update={"tile": (tile, tile), "vae_tile": tile})
    inputs = PipelineInputs(
        prompt_ids=pipeline.tokenize("red apple" if start is None else "").ids,
        negative_ids=pipeline.tokenize("").ids,
        size=(128, 128) if start is None else (SIDE, SIDE),
        seed=3,
        sampler=SamplerName.EULER,
        steps=20,
        guidance_scale=1.0,
        start=None if start is None else Start(start, 0.2),
    )
    return await pipeline.run(networks, inputs, ignore, Timer(FAMILY.name))


def steps(picture: Pixels, axis: int) -> npt.NDArray[np.float64]:
    """Mean absolute difference of each pair of neighbouring rows (axis 0) or columns (1), in levels of 255."""
    difference = np.abs(np.diff(picture.astype(np.float64), axis=axis))
    return np.asarray(difference.mean(axis=(1 - axis, 2)))


def seams(picture: Pixels) -> float:
    """Steps across the borders over those within 64 pixels, on average over all borders; 1 where nothing shows.

    Compared with places of the same phase alone: the decoder enlarges by 8, and borders lie on that grid.
    """
    ratios = []
    for axis in (0, 1):
        step = steps(picture, axis)
        for at in (border - 1 for border in BORDERS):
            near = [step[at + shift] for shift in range(-64, 65, 8) if shift and 0 <= at + shift < len(step)]
            ratios.append(step[at] / np.mean(near))
    return float(np.mean(ratios))


async def test_no_border_shows(networks: Networks) -> None:
    small = await draw(networks, TILE, None)
    start = geometry.cover(small, SIDE, SIDE)
    tiled, whole = await draw(networks, TILE, start), await draw(networks, SIDE, start)
    print(f"seams: {seams(tiled):.3f} in tiles, {seams(whole):.3f} in one piece")  # noqa: T201 - the measure
    assert seams(tiled) <= seams(whole) + EXCESS
    for axis in (0, 1):
        at_borders = steps(tiled, axis)[np.array(BORDERS) - 1]
        assert at_borders.max() <= steps(whole, axis).max()


async def test_the_measure_sees_a_seam(networks: Networks) -> None:
    """Tiles that differ by four levels of 255 would be found."""
    small = await draw(networks, TILE, None)
    whole = await draw(networks, SIDE, geometry.cover(small, SIDE, SIDE))
    checks = np.add.outer(np.arange(SIDE) // 192, np.arange(SIDE) // 192) % 2
    broken = np.clip(whole + 4.0 * checks[..., None] - 2, 0, 255).astype(np.uint8)
    assert seams(broken) > seams(whole) + EXCESS
