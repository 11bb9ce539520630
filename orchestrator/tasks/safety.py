"""The filter: pictures are scored, and those from the threshold on are replaced or refused."""

import asyncio

from orchestrator import metrics
from orchestrator.arrays import Pixels
from orchestrator.errors import FilteredError
from orchestrator.imaging.screening import views
from orchestrator.models.tools import Classifier
from orchestrator.params import SafetyParams
from orchestrator.tasks.context import TaskContext


class PictureFilteredError(Exception):
    """A picture reached the threshold. Caught in tasks.run, which answers with the replacement, if there is one.

    Attributes:
        score: its probability.
        field: of the request, if it is the client's picture; None for the result.
        replacement: that takes its place.
    """

    def __init__(self, score: float, field: str | None, replacement: Pixels | None) -> None:
        super().__init__(score)
        self.score, self.field, self.replacement = score, field, replacement

    def refusal(self) -> FilteredError:
        """The error that a client reads where nothing replaces the picture."""
        what = "the generated picture" if self.field is None else self.field
        return FilteredError(f"the safety filter stopped {what}; change the prompt or the picture, and send it again")


async def screen(
    context: TaskContext, safety: SafetyParams, picture: Pixels, replacement: Pixels | None, field: str | None = None
) -> float:
    """Score a picture: the probability that it shows pornography, of its views the largest.

    Args:
        context: of the request.
        safety: what the request asks for.
        picture: uint8 RGB or RGBA.
        replacement: for PictureFilteredError.
        field: of the request, if it is the client's picture.

    Raises:
        PictureFilteredError: the score reaches the threshold.
        UnsupportedTaskError, EngineUnavailableError, EngineFaultError: of the network.
    """
    score = await score_of(context.tools.need("nsfw"), picture)
    metrics.NSFW_SCORE.labels("result" if field is None else "input").observe(score)
    if score >= safety.threshold:
        metrics.FILTERED.labels("result" if field is None else "input").inc()
        raise PictureFilteredError(score, field, replacement)
    return score


async def score_of(network: Classifier, picture: Pixels) -> float:
    """The largest score of a picture's views."""
    scores = [await network(view[None]) for view in await asyncio.to_thread(views, picture, network.side)]
    return max(float(score[0, 0]) for score in scores)
