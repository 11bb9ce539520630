"""Composites: their alpha is the truth."""

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the tools' environment: make test-tools")

from model_tools.training.paths import Workspace
from model_tools.training.photographs import HELD_OUT as HELD_OUT_PHOTOGRAPHS
from model_tools.training.photographs import OBJECTS, TEXTURES, load
from model_tools.training.tool_networks.composites import compose, load_pictures
from model_tools.training.tool_networks.scenes import SIDE, Backgrounds

pytestmark = pytest.mark.tools


@pytest.fixture
def squares() -> np.ndarray:
    """Two pictures, uint8 RGBA: an opaque green square in the middle, and one that is half transparent."""
    pictures = np.zeros((2, SIDE, SIDE, 4), np.uint8)
    pictures[:, 64:192, 64:192] = (0, 255, 0, 255)
    pictures[1, ..., 3] //= 2
    return pictures


def test_a_seed_gives_the_same_composites(squares: np.ndarray) -> None:
    first, second = (
        [compose(squares, Backgrounds(squares), random) for _ in range(6)]
        for random in (np.random.default_rng(1), np.random.default_rng(1))
    )
    assert all(np.array_equal(a.image, b.image) for a, b in zip(first, second, strict=True))
    assert len({made.image.tobytes() for made in first}) == 6


def test_alpha_is_that_of_the_picture(squares: np.ndarray) -> None:
    """One object of 128 x 128 at 0.3 to 1.7 of its size, at most 1.2 times squeezed; or none, or up to three."""
    random = np.random.default_rng(2)
    made = [compose(squares[:1], Backgrounds(squares), random) for _ in range(40)]
    assert all(each.image.shape == (SIDE, SIDE, 3) and each.alpha.shape == (SIDE, SIDE) for each in made)
    areas = [np.count_nonzero(each.alpha > 127) for each in made]
    assert sum(area > (0.3 * 0.8 * 128) ** 2 / 3 for area in areas) >= 35
    assert max(areas) < SIDE * SIDE
    half = [compose(squares[1:], Backgrounds(squares), random) for _ in range(40)]
    values, counts = np.unique(np.stack([each.alpha for each in half]), return_counts=True)
    assert values[1:][counts[1:].argmax()] in (127, 128)


def test_every_tenth_concept_is_measured_with(workspace: Workspace) -> None:
    pictures, every = load_pictures(workspace), sum(len(np.load(workspace.pictures(style))) for style in ("3d", "flat"))
    assert 0 < len(pictures) <= every / 2


def test_photographs_to_measure_on_are_not_trained_on() -> None:
    assert not {*TEXTURES, *OBJECTS} & {*HELD_OUT_PHOTOGRAPHS}
    for name in (*TEXTURES, *OBJECTS, *HELD_OUT_PHOTOGRAPHS):
        assert load(name).ndim == 3
