"""What several files need: the small world, and a job that nothing runs."""

from pathlib import Path

import numpy as np
import pytest

from orchestrator.generation.job import Job, new_job_id
from orchestrator.params import (
    BackgroundParams,
    JobOptions,
    LayoutParams,
    OutputParams,
    Priority,
    SamplerName,
    SizeParams,
    TextToImage,
)
from orchestrator.provenance.origin import Origin
from orchestrator.scheduling.costs import CostModel
from orchestrator.scheduling.scheduled import Work
from orchestrator.scheduling.turns import Turns
from orchestrator.tasks.plan import Plan
from tests.unit.orchestrator.world import ALICE, World, build


@pytest.fixture
def world(tmp_path: Path) -> World:
    """One slot, so that jobs run one after another."""
    return build(tmp_path)


@pytest.fixture
def job() -> Job:
    """Request r of alice, waiting; a test plays its events."""
    ids = np.zeros((1, 8), np.int32)
    plan = Plan(
        family="small",
        task=TextToImage(),
        prompt_ids=ids,
        negative_ids=ids,
        seed=1,
        sampler=SamplerName.DDIM,
        steps=2,
        guidance_scale=1.0,
        size=SizeParams(width=64, height=64),
        layout=LayoutParams(),
        background=BackgroundParams(),
        output=OutputParams(),
        preview_interval=0,
        prompt_tokens_cut=0,
        cost=1.0,
        origin=Origin.GENERATED,
    )
    turn = Turns(CostModel()).open(1, Priority.NORMAL, Work(1.0), list)
    return Job(new_job_id(), ALICE, plan, JobOptions(request_id="r"), turn=turn)
