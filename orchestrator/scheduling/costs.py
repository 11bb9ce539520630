"""What each network costs: seconds of a call by engine, model, shape and rows, measured and kept current.

A running median over the last calls is the estimate: a call that waited for something else moves it little. From the
estimates follows at how many rows a shape saturates its engine: more rows at once would only make each of them slower.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from statistics import median

Shape = tuple[int, ...]
"""Sizes of a network's first input behind the batch: (C, h, w) latents, (C, H, W) pixels or (L,) token ids."""

WINDOW = 15
"""Calls that an estimate is the median of."""
WEIGHT_OF_STORED = 5
"""Calls that an estimate counts for that was read from the database: as many have to disagree before it moves."""
SATURATED = 0.95
"""A number of rows saturates an engine if it brings this share of the most rows a second that were measured."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of one call of a model in one engine."""

    engine: str
    model: str
    shape: Shape
    rows: int
    seconds: float


@dataclass(slots=True)
class _Estimate:
    recent: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))
    seconds: float = 0.0

    def add(self, *seconds: float) -> None:
        self.recent.extend(seconds)
        self.seconds = median(self.recent)


class CostModel:
    """Measured costs. Where an engine, shape or number of rows was never measured, the nearest one answers, scaled."""

    def __init__(self) -> None:
        self._models: dict[str, dict[str, dict[Shape, dict[int, _Estimate]]]] = {}  # model, engine, shape, rows
        self._changed: set[tuple[str, str, Shape, int]] = set()

    def observe(self, cost: Cost) -> None:
        """Add a measured call."""
        self._estimate(cost).add(cost.seconds)
        self._changed.add((cost.engine, cost.model, cost.shape, cost.rows))

    def load(self, costs: Iterable[Cost]) -> None:
        """Add estimates that were stored; what was measured since is kept."""
        for cost in costs:
            estimate = self._estimate(cost)
            if not estimate.recent:
                estimate.add(*[cost.seconds] * WEIGHT_OF_STORED)

    def take_changed(self) -> list[Cost]:
        """Estimates that have changed since the last call of this method."""
        changed, self._changed = self._changed, set()
        return [
            Cost(engine, model, shape, rows, self._models[model][engine][shape][rows].seconds)
            for engine, model, shape, rows in changed
        ]

    def put_back(self, costs: Iterable[Cost]) -> None:
        """Take these as changed again: they could not be stored."""
        self._changed |= {(cost.engine, cost.model, cost.shape, cost.rows) for cost in costs}

    def knows(self, engine: str, model: str, shape: Shape) -> bool:
        """Whether at least two numbers of rows were measured at this shape in this engine."""
        return len(self._models.get(model, {}).get(engine, {}).get(shape, {})) > 1

    def seconds(self, model: str, shape: Shape, rows: int, engine: str | None = None) -> float | None:
        """Seconds of a call of that many rows; None if the model was never measured.

        Between measured numbers of rows it is interpolated, beyond them each row costs what it cost at the nearest; a
        shape that was not measured costs in proportion to its elements.
        """
        measured = self._nearest(model, shape, engine)
        if measured is None:
            return None
        scale, by_rows = measured
        return scale * _interpolate(by_rows, rows)

    def saturating_rows(self, model: str, shape: Shape, most: int, engine: str | None = None) -> int:
        """The least number of rows at which the engine is saturated: `most` where that is not known yet."""
        rates = self._rates(model, shape, engine)
        enough = SATURATED * max(rates.values(), default=0.0)
        return min([most, *(rows for rows, rate in rates.items() if rate >= enough)])

    def fastest_rows(self, model: str, shape: Shape, rows: int, most: int, behind: float, engine: str) -> int:
        """Rows of a call, of requests that have `rows` each, by which `behind` requests wait the least in all.

        With k requests in a call each ends after k rows' time, and those behind them wait for 1 / rate: the sum is in
        proportion to (behind + k) / rate. `rows` where that is not known yet.
        """
        rates = {each: rate for each, rate in self._rates(model, shape, engine).items() if rows <= each <= most}
        return min(rates, key=lambda each: ((behind + each // rows) / rates[each], each), default=rows)

    def _rates(self, model: str, shape: Shape, engine: str | None) -> dict[int, float]:
        """Rows a second by rows; nothing where fewer than two numbers of rows were measured."""
        measured = self._nearest(model, shape, engine)
        if measured is None or len(measured[1]) < 2:
            return {}
        return {rows: rows / seconds for rows, seconds in measured[1].items()}

    def _estimate(self, cost: Cost) -> _Estimate:
        shapes = self._models.setdefault(cost.model, {}).setdefault(cost.engine, {})
        return shapes.setdefault(cost.shape, {}).setdefault(cost.rows, _Estimate())

    def _nearest(self, model: str, shape: Shape, engine: str | None) -> tuple[float, Mapping[int, float]] | None:
        """Seconds by rows at the nearest shape that was measured, and what they are to be multiplied with.

        Those of the engine; of all engines where it was not measured.
        """
        engines = self._models.get(model)
        if not engines:
            return None
        one = engines.get(engine or "")
        shapes = one or _pooled(engines.values())
        if shape in shapes:
            return 1.0, {rows: each.seconds for rows, each in shapes[shape].items()}
        elements = prod(shape)
        nearest = min(shapes, key=lambda each: (abs(prod(each) - elements), each))
        return elements / max(1, prod(nearest)), {rows: each.seconds for rows, each in shapes[nearest].items()}


def _pooled(engines: Iterable[Mapping[Shape, Mapping[int, _Estimate]]]) -> dict[Shape, dict[int, _Estimate]]:
    """The estimates of several engines as one: the median over them."""
    pooled: dict[Shape, dict[int, _Estimate]] = {}
    for shape, rows, estimate in _flat(engines):
        pooled.setdefault(shape, {}).setdefault(rows, _Estimate()).add(estimate.seconds)
    return pooled


def _flat(
    engines: Iterable[Mapping[Shape, Mapping[int, _Estimate]]],
) -> Iterator[tuple[Shape, int, _Estimate]]:
    for shapes in engines:
        for shape, by_rows in shapes.items():
            for rows, estimate in by_rows.items():
                yield shape, rows, estimate


def _interpolate(by_rows: Mapping[int, float], rows: int) -> float:
    if rows in by_rows:
        return by_rows[rows]
    below = max((each for each in by_rows if each < rows), default=None)
    above = min((each for each in by_rows if each > rows), default=None)
    if below is None or above is None:
        nearest = below or above or rows
        return by_rows[nearest] * rows / nearest
    share = (rows - below) / (above - below)
    return by_rows[below] + share * (by_rows[above] - by_rows[below])
