"""The cost model: medians, what follows from them, and what it says of what was never measured."""

import pytest

from orchestrator.scheduling.costs import Cost, CostModel

SHAPE = (4, 64, 64)


def model_of(by_rows: dict[int, float], engine: str = "a") -> CostModel:
    costs = CostModel()
    for rows, seconds in by_rows.items():
        costs.observe(Cost(engine, "unet", SHAPE, rows, seconds))
    return costs


def test_a_call_that_waited_moves_the_estimate_little() -> None:
    costs = model_of({2: 1.0})
    for seconds in (1.0, 1.1, 30.0, 1.05):
        costs.observe(Cost("a", "unet", SHAPE, 2, seconds))
    assert costs.seconds("unet", SHAPE, 2) == 1.05


def test_the_estimate_follows_an_engine_that_became_slower() -> None:
    costs = model_of({2: 1.0})
    for _ in range(20):
        costs.observe(Cost("a", "unet", SHAPE, 2, 2.0))
    assert costs.seconds("unet", SHAPE, 2) == 2.0


@pytest.mark.parametrize(("rows", "seconds"), [(1, 0.5), (2, 1.0), (3, 1.4), (4, 1.8), (8, 3.6)])
def test_rows_that_were_not_measured_are_interpolated_or_scaled(rows: int, seconds: float) -> None:
    assert model_of({2: 1.0, 4: 1.8}).seconds("unet", SHAPE, rows) == pytest.approx(seconds)


def test_another_shape_costs_in_proportion_to_its_elements() -> None:
    assert model_of({2: 1.0}).seconds("unet", (4, 128, 64), 2) == pytest.approx(2.0)


def test_another_engine_costs_the_median_of_those_that_were_measured() -> None:
    costs = model_of({2: 1.0})
    for engine, seconds in (("b", 2.0), ("c", 9.0)):
        costs.observe(Cost(engine, "unet", SHAPE, 2, seconds))
    assert costs.seconds("unet", SHAPE, 2, "new") == 2.0
    assert costs.seconds("unet", SHAPE, 2, "c") == 9.0


def test_nothing_is_known_of_a_model_that_was_never_measured() -> None:
    assert CostModel().seconds("unet", SHAPE, 2) is None
    assert CostModel().saturating_rows("unet", SHAPE, 8) == 8


@pytest.mark.parametrize(
    ("by_rows", "saturating"),
    [
        ({2: 2.508, 4: 5.0, 8: 9.695}, 2),  # SD 1.5 on two cores, docs/benchmarks/latest.md
        ({2: 0.0171, 4: 0.029, 8: 0.0472}, 8),  # the starter there
        ({1: 0.04, 2: 0.041, 4: 0.05, 8: 0.1}, 4),
        ({2: 1.0}, 8),  # one number of rows says nothing of others
    ],
)
def test_the_rows_that_saturate_are_the_fewest_with_nearly_the_best_throughput(
    by_rows: dict[int, float], saturating: int
) -> None:
    assert model_of(by_rows).saturating_rows("unet", SHAPE, 8) == saturating


def test_no_more_rows_saturate_than_a_request_may_have() -> None:
    assert model_of({2: 1.0, 8: 1.1}).saturating_rows("unet", SHAPE, 4) == 4


def test_what_changed_is_taken_once_and_loads_again() -> None:
    costs = model_of({2: 1.0, 4: 1.8})
    stored = costs.take_changed()
    assert costs.take_changed() == []
    again = CostModel()
    again.load(stored)
    assert again.seconds("unet", SHAPE, 4) == 1.8
    assert again.take_changed() == []
    assert again.knows("a", "unet", SHAPE)
    again.observe(Cost("a", "unet", SHAPE, 4, 50.0))  # one call alone does not overturn what was stored
    assert again.seconds("unet", SHAPE, 4) == 1.8


def test_what_was_measured_is_newer_than_what_was_stored() -> None:
    costs = model_of({2: 1.0})
    costs.load([Cost("a", "unet", SHAPE, 2, 7.0)])
    assert costs.seconds("unet", SHAPE, 2) == 1.0
