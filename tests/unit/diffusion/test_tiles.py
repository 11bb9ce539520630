"""Views of large latents, their average, and tiles for the VAE."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.diffusion import noise
from orchestrator.diffusion.tiles import VIEW_OVERLAP, Average, View, batches, in_tiles, tent, views

if TYPE_CHECKING:
    from orchestrator.arrays import Floats

lengths = st.integers(1, 200)


@given(height=lengths, width=lengths, tile=st.tuples(st.integers(4, 64), st.integers(4, 64)))
def test_views_cover_everything_in_one_size_and_overlap(height: int, width: int, tile: tuple[int, int]) -> None:
    found = views(height, width, *tile)
    seen = np.zeros((height, width), np.float32)
    for view in found:
        view.cut(seen)[...] += 1
    assert seen.min() >= 1
    assert {(view.height, view.width) for view in found} == {(min(height, tile[0]), min(width, tile[1]))}
    tops = sorted({view.top for view in found})
    assert all(below - above <= tile[0] * (1 - VIEW_OVERLAP) for above, below in pairwise(tops))


@pytest.mark.parametrize(("length", "count"), [(16, 1), (17, 2), (28, 2), (29, 3), (40, 3), (256, 21)])
def test_as_few_views_as_a_quarter_of_overlap_allows(length: int, count: int) -> None:
    assert len(views(length, 16, 16, 16)) == count


def test_a_view_of_latents_is_one_of_the_picture() -> None:
    picture = np.arange(64 * 48, dtype=np.float32).reshape(1, 64, 48)
    np.testing.assert_array_equal(View(2, 1, 4, 3).cut(picture, 8), picture[:, 16:48, 8:32])


def test_weights_are_a_tent() -> None:
    weights = tent(4, 8)
    assert weights.shape == (4, 8)
    np.testing.assert_allclose(
        weights[1] / weights[1].max(), [1 / 7, 3 / 7, 5 / 7, 1, 1, 5 / 7, 3 / 7, 1 / 7], rtol=1e-6
    )
    np.testing.assert_array_equal(weights, weights[::-1, ::-1])
    assert weights.min() > 0


@given(height=st.integers(1, 40), width=st.integers(1, 40))
def test_views_that_agree_are_their_average(height: int, width: int) -> None:
    latents = noise.start_noise(3, (1, 4, height, width))
    average = Average(latents.shape)
    for view in views(height, width, 8, 12):
        average.add(view, view.cut(latents))
    np.testing.assert_allclose(average.result(), latents, atol=1e-6)


def test_views_that_disagree_fade_into_each_other() -> None:
    """Two views that predict 0 and 1: across the overlap, no step is larger than one part of it."""
    average = Average((1, 1, 16, 28))
    for value, view in enumerate(views(16, 28, 16, 16)):
        average.add(view, np.full((1, 1, 16, 16), value, np.float32))
    row = average.result()[0, 0, 8]
    assert (row[:12], row[16:]) == (pytest.approx(0, abs=1e-6), pytest.approx(1, abs=1e-6))
    assert np.diff(row).min() >= 0
    assert np.diff(row).max() <= 0.3


def test_batches_keep_the_order() -> None:
    assert [list(batch) for batch in batches(range(7), 3)] == [[0, 1, 2], [3, 4, 5], [6]]


class Enlarging:
    """A VAE decoder in one line, whose every answer is lighter or darker by what it sees first."""

    def __init__(self, spread: float = 0.0) -> None:
        self.shapes: list[tuple[int, ...]] = []
        self.spread = spread

    async def __call__(self, latents: Floats) -> Floats:
        self.shapes.append(latents.shape)
        pixels = latents.repeat(8, axis=2).repeat(8, axis=3)
        return np.asarray(pixels + self.spread * latents[:, :, :1, :1], np.float32)


async def test_tiles_of_one_shape_share_calls() -> None:
    run = Enlarging()
    latents = noise.start_noise(4, (1, 3, 20, 40))
    picture = await in_tiles(latents, run, tile=16, scale=Fraction(8), channels=3, max_rows=2)
    np.testing.assert_allclose(picture, latents.repeat(8, axis=2).repeat(8, axis=3), atol=1e-6)
    full, right, low, corner = (2, 3, 16, 16), (1, 3, 16, 4), (2, 3, 8, 16), (1, 3, 8, 4)
    assert run.shapes == [full, (1, *full[1:]), right, low, (1, *low[1:]), corner]


async def test_a_network_that_shrinks_is_tiled_as_well() -> None:
    async def run(image: Floats) -> Floats:
        rows, channels, height, width = image.shape
        means = image.reshape(rows, channels, height // 8, 8, width // 8, 8).mean(axis=(3, 5))
        return np.asarray(np.concatenate([means, means[:, :1]], axis=1), np.float32)

    image = noise.start_noise(5, (1, 3, 160, 320))
    latents = await in_tiles(image, run, tile=128, scale=Fraction(1, 8), channels=4, max_rows=8)
    np.testing.assert_allclose(latents, await run(image), atol=1e-6)


@given(height=st.integers(1, 70), width=st.integers(1, 70))
async def test_tiles_that_disagree_fade_into_each_other(height: int, width: int) -> None:
    """A constant picture whose tiles come out lighter or darker: steps stay a fraction of the difference."""
    offsets = iter(np.random.default_rng(0).permutation(1000) / 1000)

    async def run(latents: Floats) -> Floats:
        values = np.asarray([next(offsets) for _ in latents], np.float32)[:, None, None, None]
        return np.broadcast_to(values, (len(latents), 3, 8 * latents.shape[2], 8 * latents.shape[3]))

    latents = np.zeros((1, 4, height, width), np.float32)
    picture = await in_tiles(latents, run, tile=16, scale=Fraction(8), channels=3, max_rows=8)
    assert picture.shape == (1, 3, 8 * height, 8 * width)
    for axis in (2, 3):
        steps = np.abs(np.diff(picture, axis=axis))
        assert steps.max(initial=0) <= 2 / 8
