"""Closed-form matting against pymatting's.

tests/data/pymatting.npz holds a picture that was drawn for this, and what pymatting 1.1.16 (MIT) makes of it:
`alpha` is estimate_alpha_cf(image / 255, trimap / 2, laplacian_kwargs={"epsilon": 1e-5}, cg_kwargs={"rtol": 1e-12}).
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from orchestrator.imaging import closed_form
from orchestrator.imaging.closed_form import Matte

Golden = dict[str, npt.NDArray[np.float32]]


@pytest.fixture(scope="module")
def golden() -> Golden:
    """Image in [0, 1], trimap in {0, 0.5, 1}, pymatting's alpha and the true one."""
    with np.load(Path(__file__).parents[2] / "data/pymatting.npz") as file:
        scales = {"image": 255, "trimap": 2, "alpha": 1, "truth": 255}
        return {name: np.asarray(file[name] / np.float32(scale), np.float32) for name, scale in scales.items()}


def test_the_solution_is_pymattings(golden: Golden, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closed_form, "TOLERANCE", 1e-10)
    monkeypatch.setattr(closed_form, "ITERATIONS", 5000)
    trimap = golden["trimap"]
    alpha = closed_form.solve(golden["image"], trimap, trimap == 0.5, prior=0)
    assert alpha is not None
    np.testing.assert_allclose(alpha, golden["alpha"], atol=1e-4)


def test_the_shipped_bounds_come_nearer_to_the_truth_than_the_start(golden: Golden) -> None:
    trimap = golden["trimap"]
    alpha = closed_form.solve(golden["image"], trimap, trimap == 0.5)
    assert alpha is not None
    assert np.abs(alpha - golden["truth"]).mean() < 0.25 * np.abs(trimap - golden["truth"]).mean()


def test_what_is_known_stays_bit_for_bit(golden: Golden) -> None:
    start: Matte = np.linspace(0.1, 0.9, golden["truth"].size, dtype=np.float32).reshape(golden["truth"].shape)
    unknown = golden["trimap"] == 0.5
    alpha = closed_form.solve(golden["image"], start, unknown)
    assert alpha is not None
    np.testing.assert_array_equal(alpha[~unknown], start[~unknown])
    assert (alpha[unknown] != start[unknown]).mean() > 0.9


def test_pixels_on_the_pictures_border_are_solved_too() -> None:
    """Two colours side by side, known in the middle rows only."""
    image = np.zeros((9, 12, 3), np.float32)
    image[:, 6:] = (1, 0.8, 0.2)
    truth = np.asarray(image[..., 0], np.float32)
    unknown = np.ones(truth.shape, bool)
    unknown[3:6] = False
    alpha = closed_form.solve(image, np.where(unknown, np.float32(0.5), truth), unknown)
    assert alpha is not None
    np.testing.assert_allclose(alpha, truth, atol=0.05)


def test_without_convergence_there_is_no_answer(golden: Golden, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closed_form, "ITERATIONS", 3)
    assert closed_form.solve(golden["image"], golden["trimap"], golden["trimap"] == 0.5) is None


@pytest.mark.parametrize("shape", [(2, 30), (30, 1), (1, 1)])
def test_pictures_smaller_than_a_window_have_no_answer(shape: tuple[int, int]) -> None:
    image = np.zeros((*shape, 3), np.float32)
    assert closed_form.solve(image, np.full(shape, 0.5, np.float32), np.ones(shape, bool)) is None


def test_where_nothing_is_unknown_there_is_no_answer() -> None:
    assert (
        closed_form.solve(np.zeros((9, 9, 3), np.float32), np.ones((9, 9), np.float32), np.zeros((9, 9), bool)) is None
    )
