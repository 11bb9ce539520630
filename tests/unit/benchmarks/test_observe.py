"""CPU time and executions are read right."""

import os
import time

import pytest

from benchmarks.observe import Executions, count_executions, cpu_seconds


def test_own_cpu_time_is_what_python_says() -> None:
    until = time.process_time() + 0.05
    while time.process_time() < until:
        pass
    assert cpu_seconds(os.getpid()) == pytest.approx(time.process_time(), abs=0.05)


def test_a_process_that_is_gone() -> None:
    with pytest.raises(OSError, match="No such"):
        cpu_seconds(2**30)


def test_executions_count_a_shared_batch_once() -> None:
    # Two requests of 2 rows ran together, and one alone. inference_stats counts such a run for each request in it.
    statistics = {
        "model_stats": [
            {
                "inference_stats": {"compute_infer": {"count": 3, "ns": 5_000_000_000}},
                "batch_stats": [
                    {"batch_size": 2, "compute_infer": {"count": 1, "ns": 1_000_000_000}},
                    {"batch_size": 4, "compute_infer": {"count": 1, "ns": 2_000_000_000}},
                ],
            }
        ]
    }
    assert count_executions(statistics) == Executions(count=2, rows=6, seconds=3.0)


def test_a_model_that_never_ran() -> None:
    assert count_executions({"model_stats": [{"batch_stats": []}]}) == Executions()


def test_executions_add_and_subtract() -> None:
    assert Executions(3, 8, 2.5) - Executions(1, 2, 1.0) + Executions(1, 1, 0.5) == Executions(3, 7, 2.0)
