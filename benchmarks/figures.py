"""From measurements to the table: percentiles, ratios, and the goals they are held to."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

ENGINE, STACK, STACK_REST, DIFFUSERS = "engine alone", "our stack, gRPC", "our stack, REST", "diffusers + FastAPI"

MOST_TIME_OF_ENGINE = 1.10
LEAST_RATE_OF_ENGINE = 0.95
LEAST_RATE_OF_DIFFUSERS = 1.3
MOST_CPU_MS_PER_STEP = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table.

    Attributes:
        model: of the workload.
        system: ENGINE, STACK, STACK_REST or DIFFUSERS.
        clients: that asked at once; for the engine alone, whose batches they would fill.
        images: that were timed.
        rate: images a second.
        p50, p95: latency of a picture, seconds.
        engine_share: part of the wall time in which Triton ran a network.
        batch: mean rows of a UNet execution.
        cpu_ms: CPU time of the orchestrator (user and system) for each denoising step, milliseconds, all the work of a
            request included.
        step_ms: wall time of a denoising step, milliseconds.
    """

    model: str
    system: str
    clients: int
    images: int
    rate: float
    p50: float
    p95: float
    engine_share: float | None = None
    batch: float | None = None
    cpu_ms: float | None = None
    step_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Goal:
    """A goal and what was measured."""

    text: str
    value: float
    met: bool


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least `percent` percent of the values do not exceed (nearest rank): one measured.

    Raises:
        ValueError: no values, or a percentage outside (0, 100].
    """
    if not values or not 0 < percent <= 100:
        raise ValueError(f"no {percent:g}th percentile of {len(values)} values")
    return sorted(values)[math.ceil(percent / 100 * len(values)) - 1]


def find(rows: Iterable[Row], model: str, system: str, clients: int) -> Row | None:
    """The row of a model, system and number of clients; None if it was not measured."""
    return next((r for r in rows if (r.model, r.system, r.clients) == (model, system, clients)), None)


def ratio(row: Row, rows: Iterable[Row], system: str) -> float | None:
    """Images a second of `row` over those of another system with the same model and clients, where both are there."""
    other = find(rows, row.model, system, row.clients)
    return None if other is None or other is row else row.rate / other.rate


def goals(rows: Sequence[Row]) -> list[Goal]:
    """The goals that the rows can be held to: issue 2's for the SD 1.5-sized model, and for the starter's steps."""
    found: list[Goal] = []
    for row in rows:
        if row.system != STACK:
            continue
        of_engine, of_diffusers = ratio(row, rows, ENGINE), ratio(row, rows, DIFFUSERS)
        where = f"{row.model}, {row.clients} client{'s' * (row.clients > 1)}"
        if row.model == "sd15" and of_engine and row.clients == 1:
            text = f"{where}: time of our stack over the engine's, at most {MOST_TIME_OF_ENGINE:.2f}"
            found.append(Goal(text, 1 / of_engine, 1 / of_engine <= MOST_TIME_OF_ENGINE))
        if row.model == "sd15" and of_engine and row.clients > 1:
            text = f"{where}: images/s of our stack over the engine's, at least {LEAST_RATE_OF_ENGINE:.2f}"
            found.append(Goal(text, of_engine, of_engine >= LEAST_RATE_OF_ENGINE))
        if row.model == "sd15" and of_diffusers:
            text = f"{where}: images/s of our stack over diffusers', at least {LEAST_RATE_OF_DIFFUSERS:.2f}"
            found.append(Goal(text, of_diffusers, of_diffusers >= LEAST_RATE_OF_DIFFUSERS))
        if row.model == "starter" and row.cpu_ms is not None:
            text = f"{where}: orchestrator's CPU a step, under {MOST_CPU_MS_PER_STEP:.0f} ms"
            found.append(Goal(text, row.cpu_ms, row.cpu_ms < MOST_CPU_MS_PER_STEP))
    return found


def table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table, its columns padded so that it also reads in a terminal."""
    head = (
        "model",
        "system",
        "clients",
        "images/s",
        "p50 s",
        "p95 s",
        "in engine",
        "rows/run",
        "ms/step",
        "CPU ms/step",
        "of engine",
        "of diffusers",
    )
    lines = [head, *(_cells(row, rows) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    texts = [" | ".join(_align(*cell) for cell in zip(line, widths, range(len(head)), strict=True)) for line in lines]
    rule = " | ".join("-" * width if number < 2 else "-" * (width - 1) + ":" for number, width in enumerate(widths))
    return "\n".join(f"| {text} |" for text in [texts[0], rule, *texts[1:]])


def report(rows: Sequence[Row]) -> str:
    """The table, and below it what became of the goals, as Markdown."""
    verdicts = [f"- {'met' if goal.met else 'MISSED'}: {goal.text}: {goal.value:.2f}" for goal in goals(rows)]
    return "\n".join([table(rows), "", *verdicts]).rstrip()


def as_json(rows: Sequence[Row]) -> list[dict[str, object]]:
    """The rows with their ratios, for a program."""
    return [
        asdict(row) | {"of_engine": ratio(row, rows, ENGINE), "of_diffusers": ratio(row, rows, DIFFUSERS)}
        for row in rows
    ]


def _cells(row: Row, rows: Sequence[Row]) -> tuple[str, ...]:
    return (
        row.model,
        row.system,
        str(row.clients),
        _number(row.rate, 3),
        _number(row.p50, 2),
        _number(row.p95, 2),
        "-" if row.engine_share is None else f"{row.engine_share:.0%}",
        _number(row.batch, 1),
        _number(row.step_ms, 1),
        _number(row.cpu_ms, 2),
        _number(ratio(row, rows, ENGINE), 2),
        _number(ratio(row, rows, DIFFUSERS), 2),
    )


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _align(text: str, width: int, column: int) -> str:
    return text.ljust(width) if column < 2 else text.rjust(width)
