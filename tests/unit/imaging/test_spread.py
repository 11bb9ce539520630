"""A change of a small square, spread over pictures of any size, whole and in bands."""

import itertools

import cv2
import numpy as np
import pytest

from orchestrator.imaging.boxes import Box
from orchestrator.imaging.composite import Composite, Layer
from orchestrator.imaging.spread import BAND, squared, with_change

RNG = np.random.default_rng(5)
CHANGE = RNG.normal(0, 0.02, (3, 16, 16)).astype(np.float32)


@pytest.mark.parametrize(("width", "height"), [(16, 16), (100, 37), (5, 1200), (33, 8)])
@pytest.mark.parametrize("channels", [3, 4])
def test_it_is_the_change_enlarged_bilinearly(width: int, height: int, channels: int) -> None:
    picture = RNG.integers(60, 190, (height, width, channels), dtype=np.uint8)
    enlarged = cv2.resize(CHANGE.transpose(1, 2, 0), (width, height), interpolation=cv2.INTER_LINEAR) * 127.5
    if min(width, height) >= 16:  # below, cv2.resize would shrink without averaging, as this does
        expected = np.rint(picture[..., :3] + enlarged)
        assert np.abs(with_change(picture, CHANGE)[..., :3] - expected).max() <= 1
    assert np.array_equal(with_change(picture, CHANGE)[..., 3:], picture[..., 3:])


def test_bands_fit_together_without_seams() -> None:
    picture = RNG.integers(0, 256, (2 * BAND + 77, 50, 3), dtype=np.uint8)
    whole = with_change(picture, CHANGE)
    cuts = [0, 3, BAND - 1, BAND + 1, len(picture)]
    bands = [with_change(picture[a:b], CHANGE, a, len(picture)) for a, b in itertools.pairwise(cuts)]
    assert np.array_equal(np.concatenate(bands), whole)


def test_a_composite_bears_it_whole_and_in_bands() -> None:
    picture = RNG.integers(0, 256, (90, 60, 3), dtype=np.uint8)
    expected = with_change(picture, CHANGE)
    one = Composite((60, 90), (Layer(picture, Box(0, 0, 60, 90)),)).changed(CHANGE)
    assert np.array_equal(one.layers[0].picture, expected)
    two = Composite((60, 90), (Layer(picture[:1, :1], Box(0, 0, 1, 1)), Layer(picture, Box(0, 0, 60, 90))))
    changed = two.changed(CHANGE)
    assert np.array_equal(changed.whole(), expected)
    assert np.array_equal(np.concatenate([changed.band(0, 31), changed.band(31, 90)]), expected)


def test_a_square_is_in_the_networks_units() -> None:
    assert squared(np.full((7, 300, 3), 255, np.uint8), 16).max() == pytest.approx(1)
    assert squared(np.zeros((300, 7, 4), np.uint8), 16).min() == pytest.approx(-1)
