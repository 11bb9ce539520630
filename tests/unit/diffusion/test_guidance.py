"""Guidance: which steps have which rows, and how two predictions become one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from model_tools.goldens import cases as golden_cases
from model_tools.goldens.cases import GUIDANCE_CASES, GUIDANCE_STEPS, GuidanceCase
from orchestrator.diffusion.guidance import guide, rows
from orchestrator.diffusion.guider import Guider, rows_of
from orchestrator.diffusion.noise import start_noise
from orchestrator.params import Guidance, GuidanceMethod

WITHOUT, WITH = start_noise(1, (1, 4, 3, 5)), start_noise(2, (1, 4, 3, 5))
ALWAYS = Guidance()


def guider(guidance: Guidance = ALWAYS, **changes: Any) -> Guider:
    given: dict[str, Any] = {
        "kind": "classifier_free",
        "scale": 7.5,
        "steps": 10,
        "first": 0,
        "flows": False,
        "norm_patch": 0,
    }
    return Guider(guidance=guidance, **(given | changes))


@pytest.mark.parametrize("case", GUIDANCE_CASES, ids=lambda case: case.name)
def test_guided_predictions_equal_diffusers(case: GuidanceCase) -> None:
    """Of the first four of ten steps; outside the interval a step has the prompt's row alone."""
    guidance = Guidance(
        start=case.start,
        end=case.end,
        rescale=case.rescale,
        method=GuidanceMethod(case.method),
        eta=case.eta,
        norm_threshold=case.norm_threshold,
        momentum=case.momentum,
    )
    ours = guider(guidance, scale=case.scale, steps=GUIDANCE_STEPS)
    expected = np.load(golden_cases.GUIDED)[case.name]
    for step, predictions in enumerate(golden_cases.guidance_predictions()):
        guided = ours(predictions[-ours.rows(step) :])
        assert guided.dtype == np.float32
        error = np.abs(guided[0] - expected[step]).max()
        print(f"{case.name} step {step}: max abs error {error:.1e}")  # noqa: T201 - the measure
        assert error <= 1e-4


@pytest.mark.parametrize(
    ("start", "end", "guided"),
    [(0.0, 1.0, range(10)), (0.0, 0.6, range(6)), (0.25, 0.85, range(2, 8)), (0.5, 0.5, ()), (0.0, 0.05, ())],
)
def test_steps_outside_the_interval_have_one_row(start: float, end: float, guided: Any) -> None:
    interval = guider(Guidance(start=start, end=end))
    assert [step for step in range(10) if interval.rows(step) == 2] == list(guided)


def test_the_interval_is_of_the_whole_walk() -> None:
    """A walk from a picture begins in the middle of it, at the same noise levels."""
    assert [guider(Guidance(end=0.6), first=4).rows(step) for step in range(6)] == [2, 2, 1, 1, 1, 1]


def test_cfg_zero_star_zeroes_the_first_step_of_flow_matching_alone() -> None:
    zero = Guidance(method=GuidanceMethod.CFG_ZERO_STAR)
    assert [guider(zero, flows=True).rows(step) for step in range(3)] == [0, 2, 2]
    assert guider(zero, flows=True, first=2).rows(0) == 2
    assert guider(zero).rows(0) == 2


def test_apg_remembers_its_own_request_alone() -> None:
    apg = Guidance(method=GuidanceMethod.APG)
    one, another = guider(apg), guider(apg)
    both = np.concatenate([WITHOUT, WITH])
    first = one(both)
    assert (one(both) != first).any()
    np.testing.assert_array_equal(another(both), first)


def test_scale_extrapolates_from_unconditional_through_conditional() -> None:
    expected = WITHOUT.astype(np.float64) * (1 - 7.5) + WITH.astype(np.float64) * 7.5
    guided = guide(WITHOUT, WITH, 7.5)
    assert guided.dtype == np.float32
    np.testing.assert_allclose(guided, expected, atol=1e-5)


@pytest.mark.parametrize(("scale", "expected"), [(0.0, WITHOUT), (1.0, WITH)])
def test_scales_0_and_1_are_the_rows_themselves(scale: float, expected: np.ndarray) -> None:
    np.testing.assert_allclose(guide(WITHOUT, WITH, scale), expected, atol=1e-6)


def test_one_row_passes_unchanged() -> None:
    np.testing.assert_array_equal(guider()(WITH), WITH)


def test_a_float64_scale_leaves_float32() -> None:
    assert guide(WITHOUT, WITH, np.float64(7.5)).dtype == np.float32


def test_only_scale_1_goes_without_the_unconditional_row() -> None:
    assert [rows_of("classifier_free", scale, ALWAYS) for scale in (0.0, 1.0, 1.01, 7.5)] == [1, 1, 2, 2]
    assert rows_of("classifier_free", 7.5, Guidance(start=0.5, end=0.5)) == 1


@pytest.mark.parametrize("kind", ["embedding", "none"])
def test_other_kinds_of_guidance_have_one_row(kind: str) -> None:
    assert rows_of(kind, 7.5, ALWAYS) == 1
    assert guider(kind=kind).rows(0) == 1


def test_rows_repeat_one_picture() -> None:
    np.testing.assert_array_equal(rows(WITH, 2), np.concatenate([WITH, WITH]))
    np.testing.assert_array_equal(rows(WITH, 1), WITH)


def test_several_pictures_keep_their_order() -> None:
    """All unconditional rows, then all conditional ones."""
    several = start_noise(2, (3, 4, 3, 5))
    assert (rows(several, 2)[3:] == several).all()


def test_a_norm_gives_each_token_the_prompts_own_length() -> None:
    """Qwen-Image's pipeline in diffusers, on latents packed by 2 x 2."""
    output = start_noise(3, (2, 4, 4, 6))
    guided = guide(output[:1], output[1:], 4.0, 2)

    def packed(array: np.ndarray) -> np.ndarray:
        tokens = array.reshape(1, 4, 2, 2, 3, 2).transpose(0, 2, 4, 1, 3, 5)
        return tokens.reshape(6, 16)

    plain = packed(output[:1] + 4.0 * (output[1:] - output[:1]))
    lengths = np.linalg.norm(packed(output[1:]), axis=1) / np.linalg.norm(plain, axis=1)
    np.testing.assert_allclose(packed(guided), plain * lengths[:, None], rtol=1e-5)
    assert guided.dtype == np.float32


def test_a_norm_leaves_nothing_as_nothing() -> None:
    nothing = np.zeros((1, 4, 2, 2), np.float32)
    np.testing.assert_array_equal(guide(nothing, nothing, 4.0, 2), 0)
