"""The matting network through Triton, and its refinement: 20 composites with a known truth, and photographs."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from local import triton
from local.settings import ROOT, Settings
from orchestrator.diffusion.latents import from_pixels
from orchestrator.imaging import decode, layers, mattes
from orchestrator.models.families import Families
from orchestrator.models.pool import TritonPool
from orchestrator.models.readiness import TritonNetworks
from tests.integration.objects import composites

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from orchestrator.arrays import Pixels
    from orchestrator.imaging.closed_form import Matte
    from orchestrator.models.tools import Matting

COMPOSITES = 20
MOST_ERROR = 0.03
"""Mean absolute error of opacity, over all pixels of all composites."""
EDGE = 9
"""Width of the surroundings of the true border, pixels, in which refinement has to help."""

PHOTOGRAPHS = {
    "coffee.jpg": ([(0.5, 0.3), (0.5, 0.85), (0.35, 0.6)], [(0.05, 0.05), (0.95, 0.1), (0.95, 0.6), (0.1, 0.9)]),
    "astronaut.jpg": ([(0.45, 0.17), (0.5, 0.6), (0.3, 0.8)], [(0.25, 0.1), (0.62, 0.1), (0.85, 0.5)]),
    "chelsea.jpg": ([(0.4, 0.3), (0.6, 0.45), (0.5, 0.6)], [(0.97, 0.3), (0.95, 0.9)]),
}
"""Points (x, y) of the object, and of what is behind it, as shares of width and height."""

FAMILIES = Families.load(Settings().families)


@pytest.fixture(scope="module")
def triton_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Port of a Triton that serves the matting network alone."""
    repository = tmp_path_factory.mktemp("models")
    name = FAMILIES.tools.roles["matting"]
    shutil.copytree(ROOT / "model_repository" / name, repository / name)
    with triton.running([repository], tmp_path_factory.mktemp("triton")) as server:
        yield server.grpc_port


@pytest.fixture
async def matting(triton_port: int) -> AsyncIterator[Matting]:
    server = TritonPool(f"127.0.0.1:{triton_port}", timeout_seconds=120)
    source = TritonNetworks(server, FAMILIES)
    await source.refresh()
    yield source.tools().need("matting")
    await server.close()


async def ask(matting: Matting, picture: Pixels) -> Matte:
    """The network's own answer, (side, side)."""
    answer = await matting(from_pixels(layers.resized(picture, (matting.side, matting.side))))
    return np.asarray(answer[0, 0], np.float32)


async def test_opacity_of_composites_with_known_truth(matting: Matting) -> None:
    errors, plain, refined = [], [], []
    for picture, truth in composites(COMPOSITES):
        answer = await ask(matting, picture)
        found = mattes.refine(picture, answer)
        stretched = cv2.resize(answer, truth.shape[::-1], interpolation=cv2.INTER_LINEAR)
        border = ((truth > 0) & (truth < 1)).astype(np.uint8)
        near = cv2.dilate(border, np.ones((EDGE, EDGE), np.uint8)) > 0
        errors.append(float(np.abs(found - truth).mean()))
        plain.append(float(np.abs(stretched - truth)[near].mean()))
        refined.append(float(np.abs(found - truth)[near].mean()))
    assert len(errors) == COMPOSITES
    assert np.mean(errors) < MOST_ERROR, errors
    assert np.mean(refined) < 0.7 * np.mean(plain), list(zip(plain, refined, strict=True))
    assert np.median(refined) < 0.4 * np.median(plain)


async def test_a_cut_out_is_what_was_drawn(matting: Matting) -> None:
    """Over magenta, the first two composites' objects differ from the drawn ones by little, at their borders too."""
    for picture, truth in composites(2):
        matte = mattes.refine(picture, await ask(matting, picture))
        own = mattes.foreground(picture, matte)
        whole = (matte == 1) & (truth == 1)
        assert whole.sum() > 0.9 * (truth == 1).sum()
        np.testing.assert_array_equal(own[whole], picture[whole])
        behind = layers.filled(truth.shape[::-1], (255, 0, 255))
        cut = layers.over(layers.with_alpha(own, matte), behind).astype(int)
        drawn = layers.over(layers.with_alpha(picture, truth), behind).astype(int)
        assert np.abs(cut - drawn).mean() < 4


@pytest.mark.parametrize("name", PHOTOGRAPHS)
async def test_a_photograph_s_object_is_whole_and_nothing_else_is(matting: Matting, name: str) -> None:
    picture = decode.decode((ROOT / "local/pictures" / name).read_bytes(), decode.DecodeLimits(), name)
    matte = mattes.refine(picture, mattes.close(await ask(matting, picture)))
    height, width = matte.shape
    inside, outside = ([float(matte[int(y * height), int(x * width)]) for x, y in part] for part in PHOTOGRAPHS[name])
    assert min(inside) > 0.97, inside
    assert max(outside) < 0.03, outside
