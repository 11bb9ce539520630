"""A picture enlarged: sizes, tiles, opacity, fidelity, over fakes."""

from typing import Any

import numpy as np
import pytest

from orchestrator.arrays import Floats, Pixels
from orchestrator.diffusion.stages import Calls, Stage, Steps
from orchestrator.errors import EngineFaultError, EngineUnavailableError, InvalidRequestError
from orchestrator.models.tools import Tools
from orchestrator.params import Fit, LayoutParams, SizeParams, Upscale
from orchestrator.tasks import enlarge
from orchestrator.tasks.limits import source_blend, upscale_strength
from orchestrator.tasks.upscale import generation_size
from tests.unit.tasks.task_harness import TaskHarness, noise, source


def ramp(width: int, height: int, channels: int = 3) -> Pixels:
    """Grey that rises from left to right."""
    line = np.linspace(40, 215, width).astype(np.uint8)
    return np.repeat(np.repeat(line[None, :, None], height, axis=0), channels, axis=2)


@pytest.mark.parametrize(
    ("own", "size", "expected"),
    [
        ((60, 40), SizeParams(width=180), (180, 120)),
        ((60, 40), SizeParams(width_percent=200), (120, 80)),
        ((60, 40), SizeParams(min_length=80), (120, 80)),
        ((60, 40), SizeParams(), (60, 40)),
        ((300, 200), SizeParams(width=100), (100, 67)),
    ],
)
async def test_the_size_is_what_was_asked(
    harness: TaskHarness, own: tuple[int, int], size: SizeParams, expected: tuple[int, int]
) -> None:
    result = await harness.picture(Upscale(image=source(ramp(*own))), prompt="", steps=4, size=size)
    assert result.shape == (expected[1], expected[0], 3)
    assert all(side % 8 == 0 for side in harness.scenes[0].size)


def test_detail_is_painted_up_to_a_limit() -> None:
    assert generation_size((2048, 1000)) == (2048, 1000)
    assert generation_size((3000, 2000)) == (2048, 1365)
    assert generation_size((1000, 4096)) == (500, 2048)


async def test_what_is_larger_than_a_tile_is_painted_in_tiles(harness: TaskHarness) -> None:
    await harness.run(Upscale(image=source(ramp(50, 30))), prompt="", steps=4, size=SizeParams(width=100), seed=1)
    (given,) = harness.scenes
    assert given.size == (232, 192)  # 64 pixels of reflection on each side, multiples of 8
    assert given.guidance_scale == 1
    assert harness.prepared[0].network_size == (232, 192)
    assert harness.fakes.calls > 1  # of one step: 0.35 of 4


def test_fidelity_sets_strength_and_what_is_kept() -> None:
    strengths = [upscale_strength(fidelity) for fidelity in range(1, 10)]
    assert (strengths[0], strengths[-1]) == pytest.approx((0.6, 0.1))
    assert strengths == sorted(strengths, reverse=True)
    shares = [source_blend(fidelity) for fidelity in range(1, 10)]
    assert (shares[0], shares[-1]) == pytest.approx((0, 0.8))
    assert shares == sorted(shares)


async def test_the_more_fidelity_the_nearer_to_the_picture(harness: TaskHarness) -> None:
    picture = noise(32, 32)
    plain = picture.repeat(2, axis=0).repeat(2, axis=1).astype(int)
    distances = []
    for fidelity in (1, 5, 9):
        task = Upscale(image=source(picture), fidelity=fidelity)
        result = await harness.picture(task, prompt="", steps=10, size=SizeParams(width=64))
        distances.append(np.abs(result - plain).mean())
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] < 0.4 * distances[0]


async def test_colours_and_light_stay(harness: TaskHarness) -> None:
    picture = ramp(100, 60)
    task = Upscale(image=source(picture), fidelity=1)
    result = await harness.picture(task, steps=4, size=SizeParams(width=200))
    columns = result.mean(axis=(0, 2))
    np.testing.assert_allclose(columns[16:-16:8], np.linspace(40, 215, 200)[16:-16:8], atol=16)


async def test_opacity_is_enlarged_plainly(harness: TaskHarness) -> None:
    picture = noise(40, 30, 4)
    picture[..., 3] = 255
    picture[:, :20, 3] = 0
    result = await harness.picture(Upscale(image=source(picture)), prompt="", steps=4, size=SizeParams(width=80))
    assert result.shape == (60, 80, 4)
    assert result[:, :38, 3].max() == 0
    assert result[:, 42:, 3].min() == 255


async def test_the_upscaling_network_has_a_tile_in_a_call(harness: TaskHarness) -> None:
    task = Upscale(image=source(ramp(600, 300)))
    await harness.run(task, prompt="", steps=1, size=SizeParams(width=900))
    prepared = harness.timer.stages[0]
    assert (prepared.stage, prepared.calls) == (Stage.PREPARE, 6)  # 3 x 2 tiles


async def test_without_the_network_it_is_resampled(harness: TaskHarness) -> None:
    harness.fakes.without = frozenset({"upscaler"})
    result = await harness.picture(Upscale(image=source(ramp(40, 40))), prompt="", steps=2, size=SizeParams(width=80))
    assert result.shape == (80, 80, 3)
    assert harness.timer.stages[0].calls == 0
    harness.fakes.waiting = frozenset({"upscaler"})
    with pytest.raises(EngineUnavailableError, match="the upscaler network is not ready"):
        await harness.run(Upscale(image=source(ramp(40, 40))), prompt="", size=SizeParams(width=80))


async def ignore(_: object) -> None:
    """Steps are not reported."""


def steps() -> Steps:
    return Steps(ignore, Stage.PREPARE, Calls())


@pytest.mark.parametrize("side", [1, 7, 44, 216, 217, 500])
async def test_the_networks_tiles_leave_no_seam(harness: TaskHarness, side: int) -> None:
    """The fake repeats pixels: in tiles too, none is lost or moved."""
    picture = noise(side, 300)
    result = await enlarge.enlarge(picture, (2 * side, 600), harness.fakes.tools(), steps())
    np.testing.assert_array_equal(result, picture.repeat(2, axis=0).repeat(2, axis=1))


class Shifting:
    """An upscaler by four that adds to each pixel, and answers with grain of its own."""

    scale = 4

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    async def __call__(self, image: Floats) -> Floats:
        self.shapes.append(image.shape)
        large = image.repeat(4, axis=2).repeat(4, axis=3) + np.float32(0.1)
        large[..., ::2] += np.float32(0.1)
        return np.asarray(np.clip(large, -1, 1), np.float32)


@pytest.mark.parametrize("times", [2, 3, 4])
async def test_a_clients_picture_stays_what_it_is(times: int) -> None:
    """Shrunk again, it is the picture, whatever the network does to colours and light."""
    picture = np.clip(noise(50, 40), 60, 190)
    result = await enlarge.enlarge(picture, (50 * times, 40 * times), Tools(upscaler=Shifting()), steps())
    back = result.reshape(40, times, 50, times, 3).mean(axis=(1, 3))
    assert np.abs(back - picture).max() < 2
    grown = await enlarge.grow(picture, (50 * times, 40 * times), Tools(upscaler=Shifting()), steps())
    assert (grown.reshape(40, times, 50, times, 3).mean(axis=(1, 3)) - picture).mean() > 10


async def test_a_generated_picture_passes_the_network_until_it_is_large_enough() -> None:
    shapes = {}
    for asked in (128, 190, 200, 512, 700, 1024, 4096):
        network = Shifting()
        grown = await enlarge.grow(noise(128, 128), (asked, asked), Tools(upscaler=network), steps())
        shapes[asked] = grown.shape[0], [shape[2] for shape in network.shapes]
    assert shapes[128] == shapes[190] == (128, [])
    assert shapes[200] == (256, [192])  # 128 and margins, in steps of 32
    assert shapes[512] == (512, [192])
    assert shapes[700] == (512, [192])  # no more than WORTH is left
    assert shapes[1024] == (1024, [192] + 9 * [256])
    assert shapes[4096] == (2048, [192] + 9 * [256])


async def test_large_pictures_are_resampled() -> None:
    network = Shifting()
    large = np.zeros((1001, 2000, 3), np.uint8)
    result = await enlarge.enlarge(large, (4000, 2002), Tools(upscaler=network), steps())
    assert result.shape == (2002, 4000, 3)
    assert network.shapes == []
    assert await enlarge.multiply(large, 2, Tools(upscaler=network), steps()) is None


async def test_a_wrong_answer_is_the_engines_fault() -> None:
    network = Shifting()
    network.scale = 3
    with pytest.raises(EngineFaultError, match=r"the upscaler answered a tensor of shape \(1, 3, 256, 256\), not"):
        await enlarge.enlarge(noise(20, 20), (60, 60), Tools(upscaler=network), steps())


@pytest.mark.parametrize(
    ("fit", "expected"),
    [(Fit.CANVAS, (100, 100)), (Fit.BOUNDS, (100, 50)), (Fit.COVER, (200, 100)), (Fit.CROP, (100, 100))],
)
async def test_every_fit(harness: TaskHarness, fit: Fit, expected: tuple[int, int]) -> None:
    fields: dict[str, Any] = {"size": SizeParams(width=100, height=100), "layout": LayoutParams(fit=fit)}
    result = await harness.picture(Upscale(image=source(ramp(50, 25))), prompt="", steps=2, **fields)
    assert result.shape[:2] == expected[::-1]


async def test_too_large_is_refused_before_any_work(harness: TaskHarness) -> None:
    with pytest.raises(InvalidRequestError, match=r"^size\.width_percent: "):
        await harness.run(Upscale(image=source(ramp(600, 200))), prompt="", size=SizeParams(width_percent=3000))
    assert harness.timer.stages == ()


PLAIN = "default_guidance_scale = 2.0\nupscale_detail = 0"


async def test_a_family_may_leave_detail_to_the_upscaling_network(harness: TaskHarness) -> None:
    harness.family_text = harness.family_text.replace("default_guidance_scale = 2.0", PLAIN)
    picture = noise(60, 40)
    result = await harness.picture(Upscale(image=source(picture), fidelity=9), prompt="", size=SizeParams(width=120))
    np.testing.assert_array_equal(result, picture.repeat(2, axis=0).repeat(2, axis=1))
    assert harness.scenes == []
    assert harness.prepared[0].network_size == (0, 0)


@pytest.mark.parametrize("kept", [0.0, 0.5, 1.0])
async def test_flat_pictures_keep_their_colour(kept: float) -> None:
    flat = np.full((50, 70, 3), (90, 140, 200), np.uint8)
    result = await enlarge.enlarge(flat, (280, 200), Tools(upscaler=Shifting()), steps(), kept=kept)
    assert np.abs(result.mean(axis=(0, 1)) - flat[0, 0]).max() < 1
