"""Measurements become rows."""

import pytest

from benchmarks import clients, measure
from benchmarks.engine_job import Result
from benchmarks.load import Run
from benchmarks.workloads import REPO, WORKLOADS
from orchestrator.models.families import Families

WORK = WORKLOADS["starter"]
FAMILY = Families.load(WORK.families).get(WORK.family)


def test_a_batch_of_the_engine_counts_for_all_its_pictures() -> None:
    result: Result = {"pictures": 4, "seconds": [2.0, 2.0, 4.0], "unet_seconds": [1.0, 1.0, 2.5]}
    row = measure.engine_row(WORK, 8, FAMILY, result)
    assert (row.clients, row.images, row.rate, row.batch) == (8, 12, 1.5, 8.0)
    assert (row.p50, row.p95) == (2.0, 4.0)
    assert row.step_ms == pytest.approx(1500 / FAMILY.default_steps)


def test_throughput_is_over_the_wall_time_of_all_clients() -> None:
    times = measure.times(WORK, Run(clients=2, seconds=4.0, latencies=(2.0, 1.0, 3.0, 1.5)))
    assert times == {"model": "starter", "clients": 2, "images": 4, "rate": 1.0, "p50": 1.5, "p95": 3.0}


def test_the_golden_models_configuration_is_read() -> None:
    config = measure.read_config(REPO / "tests" / "golden" / "model_repository" / "tiny_unet")
    assert (config.max_batch_size, config.parameters["precision"].string_value) == (8, "f32")


@pytest.mark.parametrize("file", [b"", b"GIF89a", b"\x89PNG\r\n\x1a\n half of it"])
def test_half_a_picture_is_not_a_picture(file: bytes) -> None:
    with pytest.raises(RuntimeError, match=f"{len(file)} bytes"):
        clients.check_png(file)
