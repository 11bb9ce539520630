"""What large pictures take in addition to themselves, bytes a pixel."""

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest

from orchestrator.imaging import layers, mattes

SIDE = 2048


def shrink() -> object:
    return layers.resized(np.full((SIDE, SIDE, 4), 128, np.uint8), (256, 256))


def colours() -> object:
    return mattes.foreground(np.full((SIDE, SIDE, 3), 90, np.uint8), np.full((SIDE, SIDE), 0.5, np.float32))


@pytest.mark.parametrize(("work", "most"), [(shrink, 27), (colours, 50)])
def test_memory_is_bounded(work: Callable[[], object], most: float) -> None:
    """The picture and the matte, 4 and 7 bytes a pixel, are counted too."""
    tracemalloc.start()
    try:
        work()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak / SIDE**2 < most


def test_strips_do_not_change_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(3)
    picture, matte = draw.integers(0, 256, (50, 70, 3), np.uint8), draw.random((50, 70), np.float32)
    whole = mattes.foreground(picture, matte)
    monkeypatch.setattr(mattes, "STRIP", 200)
    assert np.array_equal(mattes.foreground(picture, matte), whole)
