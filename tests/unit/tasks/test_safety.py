"""The filter over fakes: to them a picture is the less harmless the redder it is."""

import numpy as np
import pytest

from orchestrator.arrays import Pixels
from orchestrator.errors import EngineUnavailableError, FilteredError, UnsupportedTaskError
from orchestrator.imaging.screening import views
from orchestrator.params import BackgroundParams, Caption, Edit, SafetyParams, SizeParams, Task, TextToImage
from orchestrator.provenance import xmp
from tests.unit.tasks.task_harness import EVERYTHING, TaskHarness, opened, source

RED = np.zeros((64, 64, 3), np.uint8)
RED[..., 0] = 255
GREY = np.full((64, 64, 3), 90, np.uint8)
BLUE = np.zeros((40, 50, 3), np.uint8)
BLUE[..., 2] = 255
LOW = SafetyParams(threshold=0.5)


async def test_a_harmless_picture_passes_with_its_score(harness: TaskHarness) -> None:
    result = await harness.run(Edit(image=source(GREY)), safety=LOW)
    assert result.nsfw_score is not None
    assert result.nsfw_score < 0.1
    assert not result.filtered
    assert np.abs(opened(result.encoded.data).astype(int) - GREY).max() == 0


async def test_without_the_filter_nothing_is_scored(harness: TaskHarness) -> None:
    assert (await harness.run(Edit(image=source(RED)))).nsfw_score is None
    assert (await harness.run(Edit(image=source(RED)), safety=SafetyParams(enabled=False))).nsfw_score is None


async def test_a_filtered_picture_ends_the_request(harness: TaskHarness) -> None:
    with pytest.raises(FilteredError, match=r"^the safety filter stopped the generated picture; change the prompt"):
        await harness.run(Edit(image=source(RED)), safety=LOW)


async def test_the_replacement_takes_its_place_in_its_own_size(harness: TaskHarness) -> None:
    safety = SafetyParams(threshold=0.5, replacement=source(BLUE))
    result = await harness.run(Edit(image=source(RED)), safety=safety, size=SizeParams(width=300))
    assert (result.filtered, result.width, result.height, result.steps, result.sampler) == (True, 50, 40, 0, None)
    assert result.nsfw_score is not None
    assert result.nsfw_score > 0.9
    assert np.array_equal(opened(result.encoded.data), BLUE)
    assert xmp.read(result.encoded.data) == xmp.Statement()  # nothing of it was generated


async def test_a_threshold_of_zero_stops_everything(harness: TaskHarness) -> None:
    safety = SafetyParams(threshold=0.0, replacement=source(BLUE))
    task: Task
    for task in (TextToImage(), Edit(image=source(GREY))):
        result = await harness.run(task, safety=safety, size=SizeParams(width=64, height=64), steps=2)
        assert result.filtered


async def test_inputs_are_looked_at_before_anything_is_generated(harness: TaskHarness) -> None:
    safety = SafetyParams(threshold=0.5, inputs=True)
    with pytest.raises(FilteredError, match=r"stopped edit\.image;"):
        await harness.run(Edit(image=source(RED)), safety=safety)
    caption = Caption(image=source(RED))
    with pytest.raises(FilteredError, match=r"stopped caption\.image;"):
        await harness.run(TextToImage(), safety=safety, caption=caption, steps=2)
    behind = BackgroundParams(replace=source(RED))
    with pytest.raises(FilteredError, match=r"stopped background\.replace;"):
        await harness.run(TextToImage(), safety=safety, background=behind, steps=2)
    assert harness.prepared == []
    result = await harness.run(
        Edit(image=source(RED)), safety=SafetyParams(threshold=0.5, inputs=True, replacement=source(BLUE))
    )
    assert result.filtered


async def test_a_server_without_the_network_says_so(harness: TaskHarness) -> None:
    harness.family_text = EVERYTHING.replace('nsfw = "nsfw"\n', "")
    with pytest.raises(UnsupportedTaskError, match="no safety filter"):
        await harness.run(Edit(image=source(GREY)), safety=LOW)


async def test_a_network_that_is_not_ready_lets_nothing_pass(harness: TaskHarness) -> None:
    harness.fakes.waiting = frozenset({"nsfw"})
    with pytest.raises(EngineUnavailableError, match="nsfw"):
        await harness.run(Edit(image=source(GREY)), safety=LOW)


def transparent(alpha: int) -> Pixels:
    """Red under that opacity."""
    return np.dstack([RED, np.full((64, 64), alpha, np.uint8)])


async def test_what_transparency_hides_on_one_background_shows_on_another(harness: TaskHarness) -> None:
    """White paint on nothing is seen on black, black paint on white."""
    hidden = np.dstack([np.full((64, 64, 3), 255, np.uint8), np.zeros((64, 64), np.uint8)])
    hidden[16:48, 16:48, 3] = 255
    assert len(views(hidden, 224)) == 2
    first, second = views(hidden, 224)
    assert np.ptp(first) < 0.1  # on white there is nothing to see
    assert np.ptp(second) > 1.5  # on black there is
    result = await harness.run(Edit(image=source(transparent(254))), safety=SafetyParams(threshold=1.0))
    assert (result.nsfw_score or 0) > 0.9


@pytest.mark.parametrize(
    ("width", "height", "count"),
    [(1, 1, 1), (3, 2, 1), (64, 32, 1), (96, 32, 4), (32, 4096, 5), (4096, 64, 5), (8192, 8192, 1)],
)
def test_any_shape_can_be_looked_at(width: int, height: int, count: int) -> None:
    seen = views(np.full((height, width, 3), 90, np.uint8), 224)
    assert seen.shape == (count, 3, 224, 224)
    assert np.abs(seen - (90 / 127.5 - 1)).max() < 0.05


def test_a_picture_hidden_in_a_long_strip_is_seen() -> None:
    strip = np.full((64, 640, 3), 128, np.uint8)
    strip[:, 560:] = RED[:1, :1]
    redness = [(view[0] - view[1:].max(axis=0)).mean() / 2 for view in views(strip, 224)]
    assert max(redness) > 3 * redness[0]
