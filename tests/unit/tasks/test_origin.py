"""What each task's file states about its origin, and what the recipe holds."""

import numpy as np
import pytest

from orchestrator.params import (
    BackgroundParams,
    Caption,
    Control,
    Edit,
    Enhancement,
    EnhancementKind,
    Face,
    GenerateBackground,
    ImageFormat,
    ImageSource,
    ImageToImage,
    Inpaint,
    Metadata,
    Outpaint,
    OutputParams,
    SizeParams,
    Task,
    TextToImage,
    Upscale,
)
from orchestrator.provenance import xmp
from orchestrator.provenance.marking import Marking
from orchestrator.provenance.origin import Origin
from tests.unit.tasks.task_harness import TaskHarness, png, scene, source

PICTURE = np.full((64, 64, 3), 200, np.uint8)
MASK = np.zeros((64, 64), np.uint8)
MASK[16:48, 16:48] = 255
SIZE = SizeParams(width=64, height=64)


def marked(origin: Origin) -> bytes:
    """A PNG of another server, which states that origin."""
    packet = xmp.packet(origin, "9")
    assert packet is not None
    return xmp.with_packet(png(PICTURE), ImageFormat.PNG, packet)


async def stated(harness: TaskHarness, task: Task, **fields: object) -> Origin | None:
    """What the result's file says."""
    result = await harness.run(task, **fields)
    return xmp.read(result.encoded.data).origin


@pytest.mark.parametrize(
    ("task", "origin"),
    [
        (TextToImage(), Origin.GENERATED),
        (Face(image=source(PICTURE)), Origin.GENERATED),
        (Control(image=source(PICTURE), edges_only=True), Origin.GENERATED),
        (Control(image=source(PICTURE)), Origin.COMPOSITE),
        (ImageToImage(image=source(PICTURE)), Origin.COMPOSITE),
        (Inpaint(image=source(PICTURE), mask=source(MASK)), Origin.COMPOSITE),
        (GenerateBackground(image=source(scene(64, 64, item=(16, 16, 24, 24)))), Origin.COMPOSITE),
        (Outpaint(image=source(PICTURE)), Origin.COMPOSITE),
        (Upscale(image=source(PICTURE)), Origin.COMPOSITE),
        (Edit(image=source(PICTURE)), None),
    ],
    ids=lambda each: type(each).__name__ if not isinstance(each, Origin) else each.name,
)
async def test_each_task_states_its_origin(harness: TaskHarness, task: Task, origin: Origin | None) -> None:
    size = SizeParams(width=96, height=64) if isinstance(task, Outpaint) else SIZE
    assert await stated(harness, task, size=size, steps=2) is origin


@pytest.mark.parametrize("image_format", ImageFormat)
async def test_every_format_states_it(harness: TaskHarness, image_format: ImageFormat) -> None:
    output = OutputParams(format=image_format)
    assert await stated(harness, TextToImage(), size=SIZE, steps=2, output=output) is Origin.GENERATED


async def test_a_clients_picture_in_a_generated_one_gives_a_composite(harness: TaskHarness) -> None:
    caption = Caption(image=source(PICTURE))
    assert await stated(harness, TextToImage(), size=SIZE, steps=2, caption=caption) is Origin.COMPOSITE
    behind = BackgroundParams(replace=source(PICTURE))
    assert await stated(harness, TextToImage(), size=SIZE, steps=2, background=behind) is Origin.COMPOSITE


async def test_an_edit_keeps_what_the_clients_picture_states(harness: TaskHarness) -> None:
    for origin in (Origin.GENERATED, Origin.COMPOSITE):
        image = ImageSource(data=marked(origin))
        assert await stated(harness, Edit(image=image), size=SizeParams(width=80)) is origin
    image, caption = ImageSource(data=marked(Origin.GENERATED)), Caption(image=source(PICTURE))
    assert await stated(harness, Edit(image=image), caption=caption) is Origin.COMPOSITE


async def test_better_faces_are_painted_ones(harness: TaskHarness) -> None:
    wanted = (Enhancement(kind=EnhancementKind.FACE_ENHANCE),)
    assert await stated(harness, Edit(image=source(PICTURE)), enhancements=wanted, steps=2) is Origin.COMPOSITE


async def test_the_operator_can_turn_it_off(harness: TaskHarness) -> None:
    harness.marking = Marking(version="1", xmp=False)
    assert await stated(harness, TextToImage(), size=SIZE, steps=2) is None


async def test_the_prompt_is_in_the_file_only_where_asked(harness: TaskHarness) -> None:
    result = await harness.run(TextToImage(), size=SIZE, steps=2)
    assert b"red house" not in result.encoded.data
    output = OutputParams(metadata=Metadata.PROMPT)
    result = await harness.run(TextToImage(), size=SIZE, steps=2, output=output, negative_prompt="fog & <rain>")
    recipe = result.encoded.data.partition(b"AIPromptInformation>")[2].partition(b"<")[0].decode()
    assert recipe == (
        "red house\nNegative prompt: fog &amp; &lt;rain&gt;\n"
        "Steps: 2, Sampler: ddim, CFG scale: 2, Seed: 7, Size: 64x64, Model: small"
    )


async def test_the_same_request_gives_the_same_bytes(harness: TaskHarness) -> None:
    first, second = [await harness.run(TextToImage(), size=SIZE, steps=2) for _ in range(2)]
    assert first.encoded.data == second.encoded.data
