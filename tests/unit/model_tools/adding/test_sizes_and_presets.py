"""Sizes at which UNets run, noise schedules, and the defaults of families."""

import math
from typing import Any

import pytest

from model_tools.adding.aspect_sizes import aspect_sizes, parse_sizes
from model_tools.adding.schedule import schedule_table
from model_tools.checkpoints import presets
from model_tools.checkpoints.errors import CheckpointError
from orchestrator.params import SamplerName

pytestmark = pytest.mark.tools

SDXL_TRAINED = {
    *((1024, 1024), (1152, 896), (1216, 832), (1344, 768), (1472, 704), (1536, 640)),
}
"""Of the sizes in appendix I of Podell et al. 2023 those that stand for a usual ratio, wide."""


def test_sdxl_runs_at_sizes_that_it_was_trained_at() -> None:
    found = aspect_sizes(1024, 512, 2048, architecture="sdxl", grain=32)
    assert found[0] == (1024, 1024)
    assert {size for size in found if size[0] >= size[1]} == SDXL_TRAINED
    assert {size[::-1] for size in found} == set(found)


def test_stable_diffusion_runs_near_its_square() -> None:
    found = aspect_sizes(512, 256, 1024, architecture="sd", grain=64)
    assert {(512, 512), (640, 448), (768, 384), (384, 768)} <= set(found)
    assert all(0.7 <= width * height / 512**2 <= 1.125 for width, height in found)


@pytest.mark.parametrize(("low", "high"), [(512, 512), (448, 640), (100, 1000), (768, 1024)])
def test_sides_stay_within_bounds(low: int, high: int) -> None:
    found = aspect_sizes(512, low, high, architecture="sd", grain=64)
    assert len(set(found)) == len(found)
    for side in (side for size in found for side in size):
        assert low <= side <= high
        assert side % 64 == 0
    native = min(max(512, low), high)
    assert abs(found[0][0] - native) < 64


def test_a_grain_larger_than_a_step_counts() -> None:
    assert all(side % 128 == 0 for size in aspect_sizes(512, 128, 1024, architecture="sd", grain=128) for side in size)


def test_bounds_without_a_side_are_an_error() -> None:
    with pytest.raises(ValueError, match="no side from 520 to 570"):
        aspect_sizes(512, 520, 570, architecture="sd")


def test_the_words_of_sizes() -> None:
    assert parse_sizes("512..1024") == (512, 1024)
    assert parse_sizes("512") == (512, 512)
    for wrong in ("1024..512", "8..64", "512..9999", "a..b", ""):
        with pytest.raises(ValueError, match=r".*"):
            parse_sizes(wrong)


STABLE_DIFFUSION: dict[str, Any] = {
    "_class_name": "PNDMScheduler",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "set_alpha_to_one": False,
    "steps_offset": 1,
}


def test_a_schedule_takes_what_is_left_out_from_its_class() -> None:
    table = schedule_table(STABLE_DIFFUSION)
    assert table == {
        "prediction_type": "epsilon",
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "train_steps": 1000,
        "timestep_spacing": "leading",
        "steps_offset": 1,
        "set_alpha_to_one": False,
    }
    multistep = schedule_table(STABLE_DIFFUSION | {"_class_name": "DPMSolverMultistepScheduler"})
    assert multistep["timestep_spacing"] == "linspace"
    assert schedule_table(STABLE_DIFFUSION, "trailing")["timestep_spacing"] == "trailing"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"beta_schedule": "linear"}, "beta_schedule is 'linear', only scaled_linear is known"),
        ({"beta_schedule": "squaredcos_cap_v2"}, "beta_schedule is"),
        ({"trained_betas": [0.1]}, "trained_betas"),
        ({"rescale_betas_zero_snr": True}, "rescale_betas_zero_snr is True"),
        ({"prediction_type": "sample"}, "predicts sample"),
        ({"timestep_spacing": "log"}, "spaces timesteps log"),
        ({"_class_name": "FlowMatchEulerDiscreteScheduler"}, "has no betas known here"),
        ({"_class_name": ""}, "a scheduler without a name"),
    ],
)
def test_schedules_that_are_not_known(change: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        schedule_table(STABLE_DIFFUSION | change)


def test_a_class_whose_betas_are_linear_is_refused_where_nothing_is_said() -> None:
    with pytest.raises(CheckpointError, match="beta_schedule is 'linear'"):
        schedule_table({"_class_name": "EulerDiscreteScheduler"})


def test_presets_name_samplers_that_there_are() -> None:
    every = [*presets.FEW_STEPS.values(), *presets.USUAL.values()]
    assert {preset.sampler for preset in every} | set(presets.SAMPLERS.values()) <= set(SamplerName)
    assert all(preset.guidance <= 1 and preset.spacing == "trailing" for preset in presets.FEW_STEPS.values())


def test_the_schedulers_sampler_is_the_default_unless_few_steps_are_asked_for() -> None:
    karras = {"_class_name": "DPMSolverMultistepScheduler", "use_karras_sigmas": True}
    assert presets.choose("sd", karras, None).sampler == "dpmpp_2m_karras"
    assert presets.choose("sd", {"_class_name": "PNDMScheduler"}, None).sampler == "dpmpp_2m"
    assert presets.choose("sdxl", {"_class_name": "EulerDiscreteScheduler"}, None).sampler == "euler"
    assert presets.choose("sdxl", karras, "lightning") == presets.FEW_STEPS["lightning"]
    assert math.isclose(presets.choose("sd", {}, None).guidance, 7.5)
