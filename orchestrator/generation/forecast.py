"""What a request is expected to cost, and how long it waits: the one place where seconds are estimated.

Work is in seconds of an engine that works for one request alone, from its plan and the measured costs. Of streams the
scheduler says when they start (scheduling/scheduler.py); of durable jobs, which several servers run, QueueForecast.
"""

from collections import defaultdict, deque
from dataclasses import dataclass
from statistics import median

from orchestrator.diffusion.guider import rows_of
from orchestrator.diffusion.latents import choose_aspect_size
from orchestrator.errors import DeadlineUnreachableError
from orchestrator.models.families import NEEDS, Family
from orchestrator.models.tables import NetworkTable
from orchestrator.params import Edit, Upscale
from orchestrator.scheduling.costs import CostModel
from orchestrator.scheduling.scheduled import Work
from orchestrator.tasks.plan import Plan, text_size

MAX_ROWS = 8
"""Rows of a call, of families whose models' limit is not looked up: what model_tools writes."""
FIRST_SECONDS = 1.0
"""Of a step while nothing was measured."""
EDIT_SECONDS = 0.5
"""Of networks, of a request that paints nothing."""
WINDOW = 15
"""Requests of one kind that a correction is the median of."""
FEWEST, MOST = 0.2, 5.0
"""Bounds of a correction."""
LEAST_SECONDS = 0.1
"""Of a job, so that none is free in the order."""
DEADLINE_MARGIN = 1.25
"""A deadline counts as reachable if it is this many times the expected seconds ahead: forecasts are that good."""


def check_deadline(deadline: float | None, wait: float, run: float) -> None:
    """Check that a request that is to wait and to run for that many seconds ends by its deadline, with a margin.

    Raises:
        DeadlineUnreachableError: it is expected to end later.
    """
    if deadline is not None and DEADLINE_MARGIN * (wait + run) > deadline:
        late = wait + run - deadline
        raise DeadlineUnreachableError(
            f"the picture is expected in {wait + run:.1f} s, {wait:.1f} s of it in line; "
            f"deadline_seconds is {deadline:g}",
            retry_after=max(1.0, min(late, wait) if run < deadline else wait),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueForecast:
    """When durable jobs start and end, from what the database counts of all servers.

    Attributes:
        pace: seconds of work that a running job gets done in a second, of the last jobs that ended: less than 1 where
            several share an engine, or files and stores take their time; 1 where none has ended.
        running: jobs that run.
        left: seconds of work that they still need.
    """

    pace: float = 1.0
    running: int = 0
    left: float = 0.0

    def run(self, work: float) -> float:
        """Seconds that a job of so much work will run for, at least LEAST_SECONDS."""
        return max(work / self.pace, LEAST_SECONDS)

    def wait(self, ahead: float) -> float:
        """Seconds until a job starts before which so much work waits, next to what runs."""
        return (ahead + self.left) / (self.pace * max(1, self.running))


class Forecaster:
    """Turns plans into work: steps of the UNet, and the decoder, at measured costs, corrected by what requests took."""

    def __init__(self, costs: CostModel) -> None:
        self._costs = costs
        self._taken: dict[tuple[str, str, bool], deque[float]] = defaultdict(lambda: deque(maxlen=WINDOW))

    def work(self, plan: Plan, family: Family) -> Work:
        """What the engines have to do for a plan."""
        kind = _kind(plan)
        correction = median(self._taken[kind]) if kind in self._taken else 1.0
        if isinstance(plan.task, Edit) and not plan.paints:
            return Work(EDIT_SECONDS * correction)
        table = family.networks
        width, height = choose_aspect_size(table.aspect_sizes, *text_size(plan.size, family))
        if isinstance(plan.task, Upscale):
            width, height = table.tile_size
        guided = rows_of(table.guidance, plan.guidance_scale, plan.guidance)
        rows = table.fixed_batch or guided
        calls = plan.cost / (width * height * guided)
        model = _unet(plan, table)
        shape = table.latent_channels, height // table.latent_factor, width // table.latent_factor
        step = self._costs.seconds(model, shape, rows) or FIRST_SECONDS
        decoding = self._costs.seconds(table.vae_decoder, shape, 1) or 0.0
        seconds = correction * (calls * step + decoding)
        return Work(seconds, model, shape, rows, table.fixed_batch or MAX_ROWS)

    def learn(self, plan: Plan, work: Work, taken: float) -> None:
        """A request has ended that used engines for that many seconds, alone."""
        known = self._taken[_kind(plan)]
        correction = median(known) if known else 1.0
        known.append(min(max(correction * taken / work.seconds, FEWEST), MOST))


def _kind(plan: Plan) -> tuple[str, str, bool]:
    """What requests take alike, as a share of their plans: how many steps are skipped is not known before."""
    return plan.family, plan.task.name.value, plan.skip_tolerance > 0


def _unet(plan: Plan, table: NetworkTable) -> str:
    """Name of the UNet that a task runs."""
    needs, roles = NEEDS[plan.task.name], table.roles
    if "fill" in needs and "inpaint_unet" in roles:
        return roles["inpaint_unet"]
    if needs & {"control", "likeness"} and "controlled_unet" in roles:
        return roles["controlled_unet"]
    return roles.get("unet") or roles["inpaint_unet"]
