"""The table's maths. No times are measured here."""

import pytest

from benchmarks import figures
from benchmarks.figures import DIFFUSERS, ENGINE, STACK, STACK_REST, Row


def row(system: str, clients: int, rate: float, *, model: str = "sd15", cpu_ms: float | None = None) -> Row:
    return Row(model=model, system=system, clients=clients, images=8, rate=rate, p50=1.0, p95=2.0, cpu_ms=cpu_ms)


@pytest.mark.parametrize(
    ("percent", "expected"),
    [(50, 5), (95, 10), (90, 9), (10, 1), (1, 1), (100, 10)],
)
def test_percentile_is_a_measured_value(percent: float, expected: float) -> None:
    values = [7, 1, 10, 3, 5, 2, 9, 4, 8, 6]
    assert figures.percentile(values, percent) == expected


def test_percentile_of_one_value_is_that_value() -> None:
    assert [figures.percentile([3.0], percent) for percent in (1, 50, 95, 100)] == [3.0] * 4


@pytest.mark.parametrize(("values", "percent"), [([], 50), ([1.0], 0), ([1.0], 101), ([1.0], float("nan"))])
def test_percentile_refuses(values: list[float], percent: float) -> None:
    with pytest.raises(ValueError, match="percentile"):
        figures.percentile(values, percent)


def test_ratio_compares_the_same_model_and_clients() -> None:
    stack = row(STACK, 8, 3.0)
    rows = [row(ENGINE, 1, 99.0), row(ENGINE, 8, 4.0), row(ENGINE, 8, 50.0, model="starter"), stack]
    assert figures.ratio(stack, rows, ENGINE) == 0.75
    assert figures.ratio(stack, rows, DIFFUSERS) is None
    assert figures.ratio(rows[1], rows, ENGINE) is None, "a row is not compared with itself"


@pytest.mark.parametrize(
    ("engine", "stack", "met"),
    [(1.10, 1.00, True), (1.12, 1.00, False)],
)
def test_one_client_may_take_a_tenth_more_time_than_the_engine(engine: float, stack: float, met: bool) -> None:
    (goal,) = figures.goals([row(ENGINE, 1, engine), row(STACK, 1, stack)])
    assert goal.met is met
    assert goal.value == pytest.approx(engine / stack)


@pytest.mark.parametrize(("stack", "met"), [(0.95, True), (0.94, False), (1.05, True)])
def test_many_clients_reach_the_engines_throughput(stack: float, met: bool) -> None:
    (goal,) = figures.goals([row(ENGINE, 8, 1.0), row(STACK, 8, stack)])
    assert (goal.met, goal.value) == (met, stack)


@pytest.mark.parametrize("clients", [1, 8])
@pytest.mark.parametrize(("stack", "met"), [(1.3, True), (1.29, False)])
def test_diffusers_is_to_be_beaten_with_any_number_of_clients(clients: int, stack: float, met: bool) -> None:
    (goal,) = figures.goals([row(DIFFUSERS, clients, 1.0), row(STACK, clients, stack)])
    assert (goal.met, goal.value) == (met, stack)


@pytest.mark.parametrize(("cpu_ms", "met"), [(1.99, True), (2.0, False)])
def test_the_starter_is_held_to_its_cpu_time_a_step(cpu_ms: float, met: bool) -> None:
    (goal,) = figures.goals([row(STACK, 1, 1.0, model="starter", cpu_ms=cpu_ms)])
    assert (goal.met, goal.value) == (met, cpu_ms)


def test_the_starter_and_rest_have_no_goals_of_throughput() -> None:
    rows = [row(system, 1, 1.0, model="starter") for system in (ENGINE, STACK, DIFFUSERS)]
    assert figures.goals([*rows, row(STACK_REST, 1, 1.0), row(ENGINE, 1, 1.0)]) == []


def test_the_table_is_padded_markdown_with_a_dash_for_what_was_not_measured() -> None:
    rows = [row(ENGINE, 1, 1.0), row(STACK, 1, 0.8, cpu_ms=1.234)]
    lines = figures.table(rows).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert [len(line.split("|")) for line in lines] == [len(lines[0].split("|"))] * 4
    cells = [cell.strip() for cell in lines[3].strip("|").split("|")]
    assert cells == ["sd15", STACK, "1", "0.800", "1.00", "2.00", "-", "-", "-", "1.23", "0.80", "-"]


def test_the_report_says_what_became_of_each_goal() -> None:
    report = figures.report([row(ENGINE, 8, 1.0), row(DIFFUSERS, 8, 1.0), row(STACK, 8, 1.0)])
    assert "- met: sd15, 8 clients: images/s of our stack over the engine's, at least 0.95: 1.00" in report
    assert "- MISSED: sd15, 8 clients: images/s of our stack over diffusers', at least 1.30: 1.00" in report


def test_json_has_the_ratios() -> None:
    engine, stack = figures.as_json([row(ENGINE, 1, 2.0), row(STACK, 1, 1.0)])
    assert (engine["of_engine"], stack["of_engine"], stack["of_diffusers"], stack["rate"]) == (None, 0.5, None, 1.0)
