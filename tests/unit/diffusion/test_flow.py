"""Schedules of flow matching: what must hold of any, and the shifts by size."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.diffusion.flow import FlowSchedule, FlowSpacing, Shift
from orchestrator.diffusion.samplers import SAMPLERS
from orchestrator.diffusion.schedules import steps_walked

FLOWING = sorted(name for name, sampler in SAMPLERS.items() if sampler.flow_path is not None)
schedules = st.builds(
    FlowSchedule,
    shift_by=st.sampled_from(Shift),
    shift=st.floats(0.2, 12),
    shift_terminal=st.none() | st.floats(0.01, 0.5),
    spacing=st.sampled_from(FlowSpacing),
)


@given(st.sampled_from(FLOWING), schedules, st.integers(1, 150), st.integers(16, 8192))
def test_every_plan_walks_down_from_noise_to_the_picture(
    name: str, schedule: FlowSchedule, steps: int, tokens: int
) -> None:
    path = SAMPLERS[name].layout(schedule, steps, tokens)
    assert path.steps == steps
    assert all(high > low for high, low in pairwise(path.sigmas))
    assert 0 < path.sigmas[-2] <= path.sigmas[0] <= 1
    assert path.sigmas[-1] == 0
    assert all(0 <= timestep <= 1000 for timestep in path.timesteps)


@given(st.floats(0, 1))
def test_a_flow_path_mixes_along_a_straight_line(sigma: float) -> None:
    path = SAMPLERS["euler"].layout(FlowSchedule(), 4, 256)
    assert path.mixture(sigma) == (1 - sigma, sigma)
    assert path.input_scale(sigma) == 1
    assert path.noise_to_signal(1.0) == math.inf


def test_larger_pictures_stay_longer_in_noise() -> None:
    """FLUX.1's shift: exp(0.5) at 256 tokens (256 x 256 pixels), exp(1.15) at 4096 (1024 x 1024)."""
    by_size = FlowSchedule(shift_by=Shift.SIZE)
    assert by_size.factor(256, 8) == pytest.approx(math.exp(0.5))
    assert by_size.factor(4096, 8) == pytest.approx(math.exp(1.15))
    small, large = (SAMPLERS["euler"].layout(by_size, 8, tokens).sigmas for tokens in (256, 4096))
    assert all(a < b for a, b in zip(small[1:-1], large[1:-1], strict=True))


def test_the_last_level_is_the_terminal_one() -> None:
    path = SAMPLERS["euler"].layout(FlowSchedule(shift_by=Shift.SIZE, shift_terminal=0.02), 20, 1024)
    assert path.sigmas[-2] == pytest.approx(0.02)
    assert path.sigmas[0] == 1


def test_a_linear_shift_that_leaves_the_positive_is_refused() -> None:
    steep = FlowSchedule(shift_by=Shift.SIZE_LINEAR, base_shift=0.1, max_shift=4.0, base_image_seq_len=1024)
    with pytest.raises(ValueError, match="must be above 0"):
        SAMPLERS["euler"].layout(steep, 4, 64)


@pytest.mark.parametrize("name", FLOWING)
@pytest.mark.parametrize("steps", [0, 501])
def test_steps_out_of_range_are_refused(name: str, steps: int) -> None:
    with pytest.raises(ValueError, match="steps must be between 1 and 500"):
        SAMPLERS[name].layout(FlowSchedule(), steps, 256)


@pytest.mark.parametrize("name", sorted(set(SAMPLERS) - set(FLOWING)))
def test_samplers_of_diffusion_alone_refuse_flow_matching(name: str) -> None:
    with pytest.raises(ValueError, match="does not walk flow matching"):
        SAMPLERS[name].layout(FlowSchedule(), 4, 256)


@pytest.mark.parametrize(("steps", "strength", "walked"), [(8, 0.65, 6), (10, 0.7, 7), (4, 0.3, 2), (8, 0.01, 1)])
def test_strength_is_rounded_up_where_diffusers_rounds_it_up(steps: int, strength: float, walked: int) -> None:
    assert steps_walked(steps, strength, flows=True) == walked
