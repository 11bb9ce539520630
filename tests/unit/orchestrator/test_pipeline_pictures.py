"""Pictures, masks, control and likeness in the one pipeline, over formulas: who is asked what, and what is refused."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from orchestrator.diffusion import noise
from orchestrator.diffusion.inputs import Control, ImagePrompt, PipelineInputs, Start
from orchestrator.diffusion.pipeline import Pipeline
from orchestrator.diffusion.stages import Stage, StepDone, Timer
from orchestrator.errors import EngineFaultError, UnsupportedTaskError
from orchestrator.models.fakes import FakeNetworks
from orchestrator.params import SamplerName

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.arrays import Floats, Pixels
    from orchestrator.models.contracts import Networks
    from tests.unit.orchestrator.world import World

SIZE = (64, 32)
PICTURE: Pixels = np.random.default_rng(0).integers(40, 215, (32, 64, 3)).astype(np.uint8)
EDGES: Floats = (noise.start_noise(1, (3, 32, 64)) > 1).astype(np.float32)
RIGHT_HALF: Floats = np.concatenate([np.zeros((32, 32)), np.ones((32, 32))], axis=1).astype(np.float32)


@dataclass
class Asked:
    """What each network was asked, in order, and what it answered."""

    calls: list[tuple[str, tuple[Any, ...], Any]] = field(default_factory=list)

    def spy(self, networks: Networks) -> Networks:
        roles = [
            role
            for role in ("text_encoder", "unet", "vae_decoder", "vae_encoder", "controlled_unet", "inpaint_unet")
            if getattr(networks, role) is not None
        ]
        wrapped: dict[str, Any] = {role: self._wrapped(role, getattr(networks, role)) for role in roles}
        return replace(networks, **wrapped)

    def _wrapped(self, role: str, network: Callable[..., Any]) -> Callable[..., Any]:
        async def call(*args: Any) -> Any:
            answer = await network(*args)
            self.calls.append((role, args, answer))
            return answer

        return call

    @property
    def roles(self) -> list[str]:
        return [role for role, _, _ in self.calls]

    def of(self, role: str) -> list[tuple[Any, ...]]:
        return [args for name, args, _ in self.calls if name == role]


def inputs(pipeline: Pipeline, **changes: Any) -> PipelineInputs:
    """Two guided steps of DDIM at a bucket's size, with changes."""
    plain = PipelineInputs(
        prompt_ids=pipeline.tokenize("red house").ids,
        negative_ids=pipeline.tokenize("good").ids,
        size=SIZE,
        seed=7,
        sampler=SamplerName.DDIM,
        steps=4,
        guidance_scale=2.0,
    )
    return replace(plain, **changes)


async def ignore(_done: StepDone) -> None:
    return


async def run(world: World, asked: Asked | None = None, source: FakeNetworks | None = None, **changes: Any) -> Pixels:
    networks = (source or world.networks).networks("small")
    spied = networks if asked is None else asked.spy(networks)
    return await world.pipeline.run(spied, inputs(world.pipeline, **changes), ignore, Timer("small"))


async def test_a_start_picture_is_encoded_once_and_shortens_the_walk(world: World) -> None:
    asked = Asked()
    await run(world, asked, start=Start(PICTURE, 0.5))
    assert asked.roles == ["text_encoder", "vae_encoder", "unet", "unet", "vae_decoder"]
    ((image,),) = asked.of("vae_encoder")
    np.testing.assert_allclose(image[0].transpose(1, 2, 0), PICTURE / 127.5 - 1, atol=1e-6)
    assert [float(timestep[0, 0]) for _, timestep, *_ in asked.of("unet")] == [499, 249]


async def test_less_strength_keeps_more_of_the_picture(world: World) -> None:
    means = PICTURE.reshape(4, 8, 8, 8, 3).mean(axis=(1, 3)).repeat(8, axis=0).repeat(8, axis=1)
    little, much, all_of_it = [
        np.abs(await run(world, start=Start(PICTURE, strength), steps=100) - means).mean()
        for strength in (0.01, 0.5, 1)
    ]
    assert little < 0.3 * min(much, all_of_it)


async def test_what_the_mask_keeps_is_the_pictures(world: World) -> None:
    """The latents of the kept half come out as they went in; the plain UNet serves."""
    asked = Asked()
    await run(world, asked, start=Start(PICTURE, 1.0), mask=RIGHT_HALF)
    assert set(asked.roles) == {"text_encoder", "vae_encoder", "unet", "vae_decoder"}
    mean = next(answer for role, _, answer in asked.calls if role == "vae_encoder")
    ((latents,),) = asked.of("vae_decoder")
    np.testing.assert_allclose(latents[..., :4], mean[..., :4], atol=1e-6)
    assert np.abs(latents[..., 4:] - mean[..., 4:]).max() > 0.1


async def test_a_mask_at_full_strength_starts_from_noise_alone(world: World) -> None:
    masked, free = Asked(), Asked()
    await run(world, masked, start=Start(PICTURE, 1.0), mask=RIGHT_HALF)
    await run(world, free)
    np.testing.assert_array_equal(masked.of("unet")[0][0], free.of("unet")[0][0])


async def test_an_inpainting_unet_is_given_mask_and_masked_picture(world: World) -> None:
    asked = Asked()
    source = FakeNetworks(without=frozenset())
    await run(world, asked, source, start=Start(PICTURE, 0.5), mask=RIGHT_HALF)
    assert asked.roles == ["text_encoder", "vae_encoder", "vae_encoder", "inpaint_unet", "inpaint_unet", "vae_decoder"]
    (kept,), _ = asked.of("vae_encoder")
    assert (kept[..., 32:] == 0).all()
    assert (kept[..., :32] != 0).any()
    kept_latents = next(answer for role, _, answer in asked.calls if role == "vae_encoder") * 0.5  # scaling_factor
    for sample, *_ in asked.of("inpaint_unet"):
        assert sample.shape == (2, 9, 4, 8)
        np.testing.assert_array_equal(sample[:, 4, 0], [[0, 0, 0, 0, 1, 1, 1, 1]] * 2)
        np.testing.assert_array_equal(sample[:, 5:], np.repeat(kept_latents, 2, axis=0))


async def test_the_inpainting_unet_needs_no_start_latents_at_full_strength(world: World) -> None:
    asked = Asked()
    await run(world, asked, FakeNetworks(without=frozenset()), start=Start(PICTURE, 1.0), mask=RIGHT_HALF)
    assert asked.roles.count("vae_encoder") == 1


async def test_steered_inpainting_is_the_plain_networks(world: World) -> None:
    """The inpainting UNet has no place for edges: the controlled one serves, and keeps by the mask."""
    asked = Asked()
    changes = {"start": Start(PICTURE, 1.0), "mask": RIGHT_HALF, "control": Control(EDGES, 0.5)}
    await run(world, asked, FakeNetworks(without=frozenset()), **changes)
    assert "inpaint_unet" not in asked.roles
    assert asked.roles.count("controlled_unet") == 4


async def test_control_steers_both_guidance_rows(world: World) -> None:
    asked = Asked()
    await run(world, asked, control=Control(EDGES, 0.75))
    assert "unet" not in asked.roles
    for *_, control, image, _ in asked.of("controlled_unet"):
        np.testing.assert_array_equal(control.image, np.stack([EDGES, EDGES]))
        np.testing.assert_array_equal(control.scale, np.full((2, 1), 0.75, np.float32))
        assert image is None


async def test_an_image_prompt_has_its_own_row_without_prompt(world: World) -> None:
    asked = Asked()
    await run(world, asked, image_prompt=ImagePrompt(PICTURE[:, :32], 0.5))
    for *_, control, image, _ in asked.of("controlled_unet"):
        assert control is None
        assert image.embeds.shape == (2, 2, 8)
        assert (image.embeds[0] == 0).all()
        np.testing.assert_allclose(image.embeds[1], PICTURE[:, :32].mean() / 127.5 - 1, atol=1e-2)
        np.testing.assert_array_equal(image.scale, np.full((2, 1), 0.5, np.float32))


async def test_without_guidance_the_one_row_has_the_likeness(world: World) -> None:
    asked = Asked()
    await run(world, asked, image_prompt=ImagePrompt(PICTURE[:, :32], 0.5), guidance_scale=1.0)
    for *_, image, _ in asked.of("controlled_unet"):
        assert image.embeds.shape == (1, 2, 8)
        assert (image.embeds != 0).all()


async def test_a_face_goes_to_the_face_encoder_where_there_is_one(world: World) -> None:
    sides = []
    networks = FakeNetworks(without=frozenset()).networks("small")
    assert networks.image_encoder is not None

    class Faces:
        side = 24

        async def __call__(self, image: Floats) -> tuple[Floats, Floats]:
            sides.append(image.shape)
            return np.ones((1, 2, 8), np.float32), np.zeros((1, 2, 8), np.float32)

    for face in (True, False):
        asked = inputs(world.pipeline, image_prompt=ImagePrompt(PICTURE[:, :32], 0.5, face))
        await world.pipeline.run(replace(networks, face_encoder=Faces()), asked, ignore, Timer("small"))
    assert sides == [(1, 3, 24, 24)]


@pytest.mark.parametrize("changes", [{"control": Control(EDGES, 0.0)}, {"image_prompt": ImagePrompt(PICTURE, 0.0)}])
async def test_a_scale_of_zero_steers_nothing(world: World, changes: dict[str, Any]) -> None:
    np.testing.assert_array_equal(await run(world, **changes), await run(world))


@pytest.mark.parametrize(
    ("without", "changes", "message"),
    [
        ("vae_encoder", {"start": Start(PICTURE, 0.5)}, "no vae encoder"),
        ("controlled_unet", {"control": Control(EDGES, 0.5)}, "no controlled unet"),
        ("controlled_unet", {"image_prompt": ImagePrompt(PICTURE, 0.5)}, "no controlled unet"),
        ("image_encoder", {"image_prompt": ImagePrompt(PICTURE, 0.5)}, "no image encoder"),
    ],
)
async def test_a_missing_network_is_said_before_any_is_called(
    world: World, without: str, changes: dict[str, Any], message: str
) -> None:
    asked = Asked()
    with pytest.raises(UnsupportedTaskError, match=message):
        await run(world, asked, FakeNetworks(without=frozenset({without, "face_encoder"})), **changes)
    assert asked.calls == []


@pytest.mark.parametrize(
    "changes",
    [
        {"start": Start(PICTURE[:16], 0.5)},
        {"start": Start(PICTURE, 0.0)},
        {"start": Start(PICTURE, 1.5)},
        {"start": Start(PICTURE, float("nan"))},
        {"mask": RIGHT_HALF},
        {"start": Start(PICTURE, 0.5), "mask": RIGHT_HALF.T},
        {"control": Control(EDGES[:, :8], 0.5)},
        {"control": Control(EDGES[0], 0.5)},
    ],
)
def test_pictures_of_another_size_are_refused(world: World, changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"of size|strength"):
        inputs(world.pipeline, **changes)


@pytest.mark.parametrize(
    ("role", "shape"),
    [("vae_encoder", (1, 4, 4, 4)), ("vae_encoder", (1, 3, 4, 8)), ("controlled_unet", (2, 4, 8, 4))],
)
async def test_a_wrong_shape_is_a_fault_of_its_model(world: World, role: str, shape: tuple[int, ...]) -> None:
    async def wrong(*_args: object) -> Floats:
        return np.zeros(shape, np.float32)

    changed: dict[str, Any] = {role: wrong}
    networks = replace(world.networks.networks("small"), **changed)
    asked = inputs(world.pipeline, start=Start(PICTURE, 0.5), control=Control(EDGES, 0.5))
    with pytest.raises(EngineFaultError, match="answered a tensor of shape"):
        await world.pipeline.run(networks, asked, ignore, Timer("small"))


async def test_calls_and_steps_are_counted_as_they_are(world: World) -> None:
    reported: list[StepDone] = []

    async def listener(done: StepDone) -> None:
        reported.append(done)

    timer = Timer("small")
    asked = inputs(world.pipeline, start=Start(PICTURE, 0.5), image_prompt=ImagePrompt(PICTURE, 0.5))
    await world.pipeline.run(world.networks.networks("small"), asked, listener, timer)
    assert [(t.stage, t.calls) for t in timer.stages] == [(Stage.ENCODE, 3), (Stage.DENOISE, 2), (Stage.DECODE, 1)]
    assert [(d.stage, d.step, d.total) for d in reported if not d.tick] == [
        (Stage.ENCODE, 1, 1),
        (Stage.DENOISE, 1, 2),
        (Stage.DENOISE, 2, 2),
        (Stage.DECODE, 1, 1),
    ]
    assert [d.stage for d in reported if d.tick] == [Stage.ENCODE] * 2
