"""What several files need: the small world, and a job that nothing runs."""

from pathlib import Path

import numpy as np
import pytest

from orchestrator.diffusion.pipeline import PipelineInputs
from orchestrator.jobs.job import Job
from orchestrator.params import JobOptions, OutputParams, SamplerName
from orchestrator.tasks.text_to_image import Plan
from tests.unit.orchestrator.world import World, build


@pytest.fixture
def world(tmp_path: Path) -> World:
    """One slot, so that jobs run one after another."""
    return build(tmp_path)


@pytest.fixture
def job() -> Job:
    """Request r of alice, waiting; a test plays its events."""
    ids = np.zeros((1, 8), np.int32)
    inputs = PipelineInputs(
        prompt_ids=ids,
        negative_ids=ids,
        size=(32, 32),
        seed=1,
        sampler=SamplerName.DDIM,
        steps=2,
        guidance_scale=1.0,
    )
    return Job(
        "alice", Plan("small", inputs, (64, 64), OutputParams(), 0, 0), JobOptions(request_id="r"), ephemeral=False
    )
