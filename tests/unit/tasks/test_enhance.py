"""Pictures made better before a task and faces after it; captions over the result. Networks are fakes."""

from itertools import pairwise

import numpy as np
import pytest

from orchestrator.arrays import Pixels
from orchestrator.diffusion.stages import Stage
from orchestrator.errors import EngineUnavailableError, InvalidRequestError, UnsupportedTaskError
from orchestrator.imaging.enhancing import colors, light, noise
from orchestrator.params import (
    BackgroundParams,
    Caption,
    Color,
    Edit,
    Enhancement,
    EnhancementKind,
    EnhancementMethod,
    Fit,
    HorizontalPlace,
    ImageSource,
    ImageToImage,
    LayoutParams,
    SizeParams,
    TextToImage,
    VerticalPlace,
)
from orchestrator.params.enhancement import METHODS
from orchestrator.tasks.enhance import enhance
from tests.unit.tasks.task_harness import TaskHarness, opened, source
from tests.unit.tasks.task_harness import noise as noise_picture
from tests.unit.tasks.test_face import bright

FACES = Enhancement(kind=EnhancementKind.FACE_ENHANCE)
RED = (255, 0, 0)


def better(*kinds: EnhancementKind, **fields: object) -> tuple[Enhancement, ...]:
    return tuple(Enhancement(kind=kind, **fields) for kind in kinds)  # type: ignore[arg-type]  # by name


def solid(width: int, height: int, *color: int) -> Pixels:
    return np.full((height, width, len(color)), color, np.uint8)


async def test_the_order_is_that_of_the_kinds_and_not_of_the_request(harness: TaskHarness) -> None:
    picture = noise_picture(64, 48) // 3
    kinds = [EnhancementKind.COLOR, EnhancementKind.EXPOSURE_CORRECTION, EnhancementKind.CLEAN]
    results = [
        await harness.picture(Edit(image=source(picture)), prompt="", enhancements=better(*order))
        for order in (kinds, kinds[::-1])
    ]
    np.testing.assert_array_equal(results[0], results[1])
    expected = colors.strengthen(light.expose(noise.clean(picture, 1.0), 1.0), 1.0)
    np.testing.assert_array_equal(results[0], expected)
    assert [time.stage for time in harness.timer.stages] == [Stage.PREPARE, Stage.FINISH]


async def test_the_task_starts_from_the_better_picture(harness: TaskHarness) -> None:
    """And so does what is painted: the start that the pipeline gets is lit."""
    dark = noise_picture(64, 64) // 8
    wanted = better(EnhancementKind.EXPOSURE_CORRECTION)
    await harness.run(ImageToImage(image=source(dark)), steps=2, enhancements=wanted)
    start = harness.scenes[0].start
    assert start is not None
    assert start.pixels.mean() > 2 * dark.mean()


async def test_what_is_transparent_stays_so(harness: TaskHarness) -> None:
    picture = noise_picture(32, 32, 4)
    result = await harness.picture(
        Edit(image=source(picture)), prompt="", enhancements=better(EnhancementKind.COLOR, EnhancementKind.LIGHT)
    )
    np.testing.assert_array_equal(result[..., 3], picture[..., 3])
    assert (result[..., :3] != picture[..., :3]).any()


async def test_a_face_is_painted_over_a_little(harness: TaskHarness) -> None:
    picture = bright(128, 96)
    result = await harness.picture(Edit(image=source(picture)), prompt="", steps=10, enhancements=(FACES,))
    assert result.shape == picture.shape
    changed = np.abs(result.astype(int) - picture).max(axis=2) > 0
    assert 0.02 < changed.mean() < 0.9
    scene = harness.scenes[0]
    assert scene.start is not None
    assert scene.start.strength == pytest.approx(0.24)
    assert scene.control is not None  # the family can steer by edges
    assert [time.stage for time in harness.timer.stages] == [
        *(Stage.PREPARE, Stage.FINISH, Stage.ENCODE, Stage.DENOISE, Stage.DECODE)
    ]
    finishes = [number for number, done in enumerate(harness.steps) if done.stage is Stage.FINISH and not done.tick]
    assert finishes == [len(harness.steps) - 1]


async def test_more_level_is_more_strength(harness: TaskHarness) -> None:
    for level in (0.0, 0.5, 1.0):
        wanted = Enhancement(kind=EnhancementKind.FACE_ENHANCE, level=level)
        await harness.run(Edit(image=source(bright())), prompt="", steps=10, enhancements=(wanted,))
    strengths = [scene.start.strength for scene in harness.scenes if scene.start is not None]
    assert sorted(set(strengths)) == pytest.approx([0.24, 0.4])  # at level 0 nothing is generated


async def test_level_0_changes_nothing_and_leaves_smoothing(harness: TaskHarness) -> None:
    plain = await harness.picture(Edit(image=source(bright())), prompt="")
    pictures = {}
    for smoothing in (None, 0.0, 1.0):
        wanted = Enhancement(kind=EnhancementKind.FACE_ENHANCE, level=0.0, smoothing=smoothing)
        pictures[smoothing] = await harness.picture(Edit(image=source(bright())), prompt="", enhancements=(wanted,))
    assert (pictures[None] == plain).all()
    assert (pictures[0.0] == plain).all()
    assert (pictures[1.0] != plain).any()


async def test_beautified_skin_is_smoother(harness: TaskHarness) -> None:
    results = []
    for method in (EnhancementMethod.BEAUTIFY_REAL, EnhancementMethod.BEAUTIFY):
        wanted = Enhancement(kind=EnhancementKind.FACE_ENHANCE, method=method)
        task = Edit(image=source(bright(128, 96)))
        results.append(await harness.picture(task, prompt="", steps=4, seed=3, enhancements=(wanted,)))
    roughness = [sum(float(np.abs(a - b).mean()) for a, b in pairwise(each.astype(float))) for each in results]
    assert roughness[1] < roughness[0]


async def test_a_picture_without_faces_stays_as_it_is(harness: TaskHarness) -> None:
    picture = noise_picture(64, 48) // 8
    result = await harness.picture(Edit(image=source(picture)), prompt="", enhancements=(FACES,))
    np.testing.assert_array_equal(result, picture)
    assert harness.scenes == []


async def test_faces_of_a_painted_picture_are_painted_again(harness: TaskHarness) -> None:
    plain = await harness.picture(TextToImage(), steps=2, seed=1, size=SizeParams(width=64, height=64))
    again = await harness.picture(
        TextToImage(), steps=2, seed=1, size=SizeParams(width=64, height=64), enhancements=(FACES,)
    )
    assert again.shape == plain.shape
    assert len(harness.scenes) >= 2


async def test_a_family_without_the_networks_says_so(harness: TaskHarness) -> None:
    harness.family_text = harness.family_text.replace('face_landmarks = "face_landmarks"\n', "")
    with pytest.raises(UnsupportedTaskError, match="no networks for face_enhance"):
        await harness.plan(Edit(image=source(bright())), prompt="", enhancements=(FACES,))


async def test_faces_need_the_familys_networks_where_an_edit_needs_none(harness: TaskHarness) -> None:
    harness.ready = False
    plan = await harness.plan(Edit(image=source(bright())), prompt="", enhancements=(FACES,))
    assert plan.paints
    assert {"vae_encoder", "face_detector", "face_landmarks"} <= plan.needs
    cheaper = await harness.plan(Edit(image=source(bright())), prompt="")
    assert not cheaper.paints
    assert cheaper.cost < plan.cost
    with pytest.raises(EngineUnavailableError):
        await harness.run(Edit(image=source(bright())), prompt="", enhancements=(FACES,))


@pytest.mark.parametrize(
    ("horizontal", "vertical", "box"),
    [
        (HorizontalPlace.LEFT, VerticalPlace.TOP, (10, 10)),
        (HorizontalPlace.CENTER, VerticalPlace.TOP, (75, 10)),
        (HorizontalPlace.RIGHT, VerticalPlace.CENTER, (140, 38)),
        (HorizontalPlace.RIGHT, VerticalPlace.BOTTOM, (140, 65)),
    ],
)
async def test_places_of_a_caption(
    harness: TaskHarness, horizontal: HorizontalPlace, vertical: VerticalPlace, box: tuple[int, int]
) -> None:
    """A logo of 2:1 over 200 x 100: a quarter of the width, 5 % of it to the borders."""
    caption = Caption(image=source(solid(40, 20, *RED)), horizontal=horizontal, vertical=vertical)
    result = await harness.picture(Edit(image=source(solid(200, 100, 0, 0, 255))), prompt="", caption=caption)
    rows, columns = np.nonzero((result == RED).all(axis=2))
    assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == (*box, box[0] + 50, box[1] + 25)
    assert ((result == RED).all(axis=2) | (result == (0, 0, 255)).all(axis=2)).all()


@pytest.mark.parametrize(
    ("caption", "size"),
    [
        ({"width_share": 1.0, "padding_share": 0.0}, (100, 50)),
        ({"width_share": 1.0, "padding_share": 0.45}, (4, 2)),  # of 60 rows 29 are kept on each side
        ({"width_share": 1.0, "padding_pixels": 10}, (80, 40)),
        ({"width_share": 1.0, "padding_pixels": 2048}, (4, 2)),
        ({"width_share": 0.001}, (1, 1)),
    ],
)
async def test_a_caption_fits_whatever_is_asked(
    harness: TaskHarness, caption: dict[str, float], size: tuple[int, int]
) -> None:
    over = Caption(image=source(solid(40, 20, *RED)), **caption)  # type: ignore[arg-type]  # by name
    result = await harness.picture(Edit(image=source(solid(100, 60, 0, 0, 255))), prompt="", caption=over)
    rows, columns = np.nonzero((result == RED).all(axis=2))
    assert (columns.max() - columns.min() + 1, rows.max() - rows.min() + 1) == size


async def test_a_high_caption_is_reduced(harness: TaskHarness) -> None:
    over = Caption(image=source(solid(10, 100, *RED)), width_share=0.5, padding_share=0.0)
    result = await harness.picture(Edit(image=source(solid(100, 50, 0, 0, 255))), prompt="", caption=over)
    rows, columns = np.nonzero((result == RED).all(axis=2))
    assert (columns.max() - columns.min() + 1, rows.max() - rows.min() + 1) == (5, 50)


async def test_opacity_of_a_caption_and_its_own(harness: TaskHarness) -> None:
    logo = solid(20, 20, 255, 0, 0, 128)
    over = Caption(image=source(logo), width_share=1.0, padding_share=0.0, opacity=0.5)
    result = await harness.picture(Edit(image=source(solid(20, 20, 0, 0, 255))), prompt="", caption=over)
    assert result[10, 10].tolist() == [64, 0, 191]
    invisible = Caption(image=source(logo), opacity=0.0)
    result = await harness.picture(Edit(image=source(solid(20, 20, 0, 0, 255))), prompt="", caption=invisible)
    assert (result == (0, 0, 255)).all()


async def test_a_caption_is_over_everything_and_may_come_from_the_web(harness: TaskHarness) -> None:
    url = "https://pictures.example/logo.png"
    harness.files[url] = source(solid(20, 20, *RED)).data or b""
    result = await harness.run(
        Edit(image=source(solid(40, 40, 0, 255, 0))),
        prompt="",
        size=SizeParams(width=100, height=64),
        layout=LayoutParams(fit=Fit.CANVAS),
        background=BackgroundParams(color=Color(0, 0, 255)),
        caption=Caption(image=ImageSource(url=url), padding_share=0.0),
    )
    picture = opened(result.encoded.data)
    assert picture[63, 99].tolist() == list(RED)  # over what the canvas adds
    assert picture[5, 5].tolist() == [0, 0, 255]


async def test_text_alone_may_have_a_caption(harness: TaskHarness) -> None:
    over = Caption(image=source(solid(20, 20, *RED)), padding_share=0.0)
    result = await harness.picture(TextToImage(), steps=2, size=SizeParams(width=64, height=64), caption=over)
    assert (result[48:, 48:] == RED).all()
    assert not (result[:48, :48] == RED).all()


async def test_a_caption_that_cannot_be_read_is_named(harness: TaskHarness) -> None:
    with pytest.raises(InvalidRequestError, match=r"^caption\.image: "):
        await harness.run(TextToImage(), steps=2, caption=Caption(image=ImageSource(data=b"no picture")))


def cut_out_product() -> Pixels:
    """A dim, grainy product with a colour cast and an edge, cut out, its alpha soft at the border; RGBA."""
    y, x = np.mgrid[:120, :160]
    shading = 40 + 60 * (np.hypot(x - 80, y - 60) < 25) + x / 4
    grain = np.random.default_rng(2).normal(0, 3, (120, 160, 3))
    colours = np.clip(shading[..., None] * (1.2, 1.0, 0.7) + grain, 0, 255)
    alpha = np.clip((45 - np.hypot(x - 80, y - 60)) * 40, 0, 255)
    return np.dstack([colours, alpha]).astype(np.uint8)


HIDDEN = {"black": 0, "white": 255, "blue": (0, 0, 255), "noise": None}
EVERY = [
    Enhancement(kind=kind, method=method)
    for kind in EnhancementKind
    if kind is not EnhancementKind.FACE_ENHANCE
    for method in (METHODS.get(kind) or (None,))
]


@pytest.mark.parametrize("wanted", EVERY, ids=lambda each: f"{each.kind}-{each.method}")
async def test_colours_that_nobody_sees_change_nothing(wanted: Enhancement) -> None:
    product = cut_out_product()
    seen = product[..., 3] > 0
    answers = []
    for colour in HIDDEN.values():
        noise = np.random.default_rng(1).integers(0, 256, (120, 160, 3), np.uint8)
        behind = noise if colour is None else np.broadcast_to(np.array(colour, np.uint8), (120, 160, 3))
        colours = np.where(seen[..., None], product[..., :3], behind)
        answers.append(await enhance(np.dstack([colours, product[..., 3]]), [wanted]))
    for answer in answers:
        assert np.array_equal(answer[..., 3], product[..., 3])
        assert np.array_equal(answer[seen], answers[0][seen])


async def test_only_what_is_seen_is_measured() -> None:
    """A cut-out is exposed and balanced as the product alone would be, however much transparent room is around it."""
    product = cut_out_product()
    wanted = [Enhancement(kind=EnhancementKind.EXPOSURE_CORRECTION), Enhancement(kind=EnhancementKind.WHITE_BALANCE)]
    roomy = np.pad(product, ((200, 200), (300, 300), (0, 0)))
    alone, in_room = await enhance(product, wanted), await enhance(roomy, wanted)
    core = np.s_[40:80, 60:100]
    difference = alone[core].astype(int) - in_room[200:320, 300:460][core]
    assert np.abs(difference).max() <= 6


async def test_a_picture_that_is_all_transparent_is_taken() -> None:
    for each in EVERY:
        assert (await enhance(np.zeros((20, 30, 4), np.uint8), [each])).shape == (20, 30, 4)
