"""How many requests an engine can work for at once, and how long each then takes."""

from collections.abc import Sequence

from orchestrator.scheduling.costs import CostModel
from orchestrator.scheduling.scheduled import Work

BACKLOG_WEIGHT = 2.0
"""Requests that a call delays, by w that wait for its engine: this times w (1 + w). With w in line an engine is busy
for about w / (1 + w) of the time, so 1 + w as many will come until it is idle again (of M/M/1); by simulation twice."""


def share_batches(one: Work, two: Work) -> bool:
    """Whether steps of two requests can share a batch."""
    return one.model is not None and one.model == two.model and one.shape == two.shape


class Capacities:
    """Capacities of engines by what networks cost, each computed once until the costs may have changed.

    Attributes:
        fixed: requests that may use one engine at once, of whatever shape; 0: as many as saturate it.
        backlog: requests that wait, for each engine that works; with more of them more share an engine.
    """

    def __init__(self, costs: CostModel, fixed: int) -> None:
        self.fixed, self.backlog = fixed, 0
        self._costs = costs
        self._capacities: dict[tuple[Work, str, int], int] = {}
        self._slowdowns: dict[tuple[Work, str, int], float] = {}

    def forget(self) -> None:
        """Costs may have changed: compute all again."""
        self._capacities.clear()
        self._slowdowns.clear()

    def capacity(self, work: Work, engine: str) -> int:
        """How many requests of this work saturate an engine."""
        if self.fixed:
            return self.fixed
        if work.model is None:
            return 1
        if (known := self._capacities.get((work, engine, self.backlog))) is None:
            kind = work.model, work.shape
            behind = BACKLOG_WEIGHT * self.backlog * (1 + self.backlog)
            rows = max(
                self._costs.saturating_rows(*kind, work.max_rows, engine),
                self._costs.fastest_rows(*kind, work.rows, work.max_rows, behind, engine),
            )
            known = self._capacities[work, engine, self.backlog] = max(1, rows // work.rows)
        return known

    def fits(self, work: Work, engine: str, others: Sequence[Work]) -> bool:
        """Whether an engine can work for a request together with the others that it works for."""
        if self.fixed or not others:
            return len(others) < max(1, self.fixed)
        return all(share_batches(work, other) for other in others) and len(others) < self.capacity(work, engine)

    def slowdown(self, work: Work, engine: str, others: Sequence[Work]) -> float:
        """How many times as long a request takes together with the others that an engine works for."""
        sharing = 1 + sum(share_batches(work, other) for other in others)
        if work.model is None or sharing == 1:
            return 1.0
        sharing = min(sharing, self.capacity(work, engine))
        if (known := self._slowdowns.get((work, engine, sharing))) is None:
            alone = self._costs.seconds(work.model, work.shape, work.rows, engine)
            together = self._costs.seconds(work.model, work.shape, sharing * work.rows, engine)
            known = max(1.0, together / alone) if alone and together else 1.0
            self._slowdowns[work, engine, sharing] = known
        return known
