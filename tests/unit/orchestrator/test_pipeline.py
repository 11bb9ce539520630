"""The one pipeline over formulas: which rows are asked, what is reported, and what ends it."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from orchestrator.arrays import Floats
from orchestrator.diffusion import noise
from orchestrator.diffusion import pipeline as pipeline_module
from orchestrator.diffusion.inputs import PipelineInputs
from orchestrator.diffusion.pipeline import Pipeline
from orchestrator.diffusion.stages import Stage, StepDone, Timer
from orchestrator.errors import EngineFaultError, InvalidRequestError
from orchestrator.models.contracts import AddedRows, Ids, Networks
from orchestrator.params import Guidance, GuidanceMethod, GuidanceParams, SamplerName
from tests.unit.orchestrator.world import FAMILIES, World, build


class Recorder:
    """Networks that write down what they are asked, before the fakes answer. Answers can be replaced."""

    def __init__(self, world: World) -> None:
        self._networks = world.networks.networks("small")
        self.ids: list[Ids] = []
        self.samples: list[Floats] = []
        self.timesteps: list[Floats] = []
        self.hidden: list[Floats] = []
        self.latents: list[Floats] = []
        self.answers: dict[str, Floats] = {}

    @property
    def networks(self) -> Networks:
        return Networks(self.text_encoder, self.unet, self.vae_decoder)

    async def text_encoder(self, input_ids: Ids, skip: int = 0) -> Floats:  # noqa: ARG002  # of the contract
        self.ids.append(input_ids)
        return self.answers.get("text_encoder", await self._networks.text_encoder(input_ids))

    async def unet(
        self, sample: Floats, timestep: Floats, encoder_hidden_states: Floats, added: AddedRows | None = None
    ) -> Floats:
        assert self._networks.unet is not None
        self.samples.append(sample)
        self.timesteps.append(timestep)
        self.hidden.append(encoder_hidden_states)
        return self.answers.get("unet", await self._networks.unet(sample, timestep, encoder_hidden_states, added))

    async def vae_decoder(self, latents: Floats) -> Floats:
        self.latents.append(latents)
        return self.answers.get("vae_decoder", await self._networks.vae_decoder(latents))


def inputs(pipeline: Pipeline, *, guidance_scale: float = 2.0, steps: int = 4, seed: int = 7) -> PipelineInputs:
    return PipelineInputs(
        prompt_ids=pipeline.tokenize("red house").ids,
        negative_ids=pipeline.tokenize("good").ids,
        size=(64, 32),
        seed=seed,
        sampler=SamplerName.EULER_ANCESTRAL,
        steps=steps,
        guidance_scale=guidance_scale,
    )


async def ignore(_done: StepDone) -> None:
    return


async def run(world: World, recorder: Recorder, **changes: float) -> np.ndarray:
    asked = inputs(world.pipeline, **changes)  # type: ignore[arg-type]  # numbers all
    return await world.pipeline.run(recorder.networks, asked, ignore, Timer("small"))


async def test_two_rows_are_the_negative_prompt_then_the_prompt(world: World) -> None:
    recorder = Recorder(world)
    await run(world, recorder)
    (ids,) = recorder.ids
    assert ids.dtype == np.int32
    assert ids.tolist() == [[1, 6, 2, 0, 0, 0, 0, 0], [1, 4, 5, 2, 0, 0, 0, 0]]
    assert len(recorder.samples) == 4
    for sample, timestep, hidden in zip(recorder.samples, recorder.timesteps, recorder.hidden, strict=True):
        assert sample.shape == (2, 4, 4, 8)
        assert (sample[0] == sample[1]).all()
        assert timestep.shape == (2, 1)
        assert hidden.shape == (2, 8, world.networks.width)
        assert {a.dtype for a in (sample, timestep, hidden)} == {np.dtype(np.float32)}
    times = [float(t[0, 0]) for t in recorder.timesteps]
    assert times == [999, 749, 499, 249]


async def test_without_guidance_one_row_carries_the_prompt(world: World) -> None:
    recorder = Recorder(world)
    await run(world, recorder, guidance_scale=1.0)
    assert recorder.ids[0].tolist() == [[1, 4, 5, 2, 0, 0, 0, 0]]
    assert {len(a) for a in (*recorder.samples, *recorder.timesteps, *recorder.hidden)} == {1}


@pytest.mark.parametrize("guidance_scale", [1.0000001, 7.5])
async def test_more_guidance_needs_both_rows(world: World, guidance_scale: float) -> None:
    recorder = Recorder(world)
    await run(world, recorder, guidance_scale=guidance_scale)
    assert {len(sample) for sample in recorder.samples} == {2}


@pytest.mark.parametrize("guidance_scale", [0.0, 0.5])
async def test_less_guidance_than_one_is_none(world: World, guidance_scale: float) -> None:
    """As in diffusers: few-step models come with 0."""
    less, none = [await run(world, Recorder(world), guidance_scale=scale) for scale in (guidance_scale, 1.0)]
    np.testing.assert_array_equal(less, none)


async def test_guidance_is_continuous_at_one(world: World) -> None:
    """One row gives what two rows give: the shortcut changes the work, not the picture."""
    short, long = Recorder(world), Recorder(world)
    await run(world, short, guidance_scale=1.0)
    await run(world, long, guidance_scale=float(np.nextafter(1.0, 2.0)))
    np.testing.assert_allclose(short.latents[0], long.latents[0], atol=1e-5)


async def test_the_decoder_gets_unscaled_latents(world: World) -> None:
    """scaling_factor is 0.5: twice what the sampler ends with, which is its last predicted picture."""
    recorder = Recorder(world)
    x0: list[Floats] = []

    async def listener(done: StepDone) -> None:
        if done.x0 is not None:
            x0.append(done.x0)

    pixels = await world.pipeline.run(recorder.networks, inputs(world.pipeline), listener, Timer("small"))
    assert len(x0) == 4
    np.testing.assert_allclose(recorder.latents[0], 2 * x0[-1], atol=1e-4)
    assert pixels.shape == (32, 64, 3)
    assert pixels.dtype == np.uint8
    expected = (np.tanh(recorder.latents[0][0, :3]) * 0.5 + 0.5) * 255
    np.testing.assert_allclose(pixels[::8, ::8].transpose(2, 0, 1), expected, atol=0.51)


async def test_every_step_is_reported_in_order(world: World) -> None:
    reported: list[tuple[Stage, int, int, bool]] = []

    async def listener(done: StepDone) -> None:
        reported.append((done.stage, done.step, done.total, done.x0 is not None))

    timer = Timer("small")
    await world.pipeline.run(Recorder(world).networks, inputs(world.pipeline, steps=3), listener, timer)
    assert reported == [
        (Stage.ENCODE, 1, 1, False),
        *[(Stage.DENOISE, step, 3, True) for step in (1, 2, 3)],
        (Stage.DECODE, 1, 1, False),
    ]
    assert [(t.stage, t.calls) for t in timer.stages] == [(Stage.ENCODE, 1), (Stage.DENOISE, 3), (Stage.DECODE, 1)]
    assert all(t.seconds >= 0 for t in timer.stages)


class StopError(Exception):
    pass


@pytest.mark.parametrize(
    ("stage", "step", "unet_calls", "decodes"),
    [
        (Stage.ENCODE, 1, 0, 0),
        (Stage.DENOISE, 1, 1, 0),
        (Stage.DENOISE, 3, 3, 0),
        (Stage.DENOISE, 4, 4, 0),
        (Stage.DECODE, 1, 4, 1),
    ],
)
async def test_what_the_listener_raises_ends_everything(
    world: World, stage: Stage, step: int, unet_calls: int, decodes: int
) -> None:
    recorder, timer = Recorder(world), Timer("small")

    async def listener(done: StepDone) -> None:
        if (done.stage, done.step) == (stage, step):
            raise StopError

    with pytest.raises(StopError):
        await world.pipeline.run(recorder.networks, inputs(world.pipeline), listener, timer)
    assert (len(recorder.samples), len(recorder.latents)) == (unet_calls, decodes)
    if stage is Stage.DENOISE:
        assert [t.stage for t in timer.stages] == [Stage.ENCODE]  # a stage that failed has no time


async def test_the_seed_alone_makes_the_noise(world: World) -> None:
    first, again, other = Recorder(world), Recorder(world), Recorder(world)
    pictures = [await run(world, first), await run(world, again), await run(world, other, seed=8)]
    assert (pictures[0] == pictures[1]).all()
    assert (pictures[0] != pictures[2]).any()
    assert (first.samples[0] != other.samples[0]).any()


async def test_each_step_has_noise_of_its_own(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[int, int, tuple[int, ...]]] = []

    def recorded(seed: int, step: int, shape: tuple[int, ...], *, second: bool = False) -> Floats:
        drawn.append((seed, step, shape))
        return noise.step_noise(seed, step, shape, second=second)

    monkeypatch.setattr(pipeline_module, "step_noise", recorded)
    await run(world, Recorder(world), seed=9)
    assert drawn == [(9, step, (1, 4, 4, 8)) for step in range(3)]  # none after the last step


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
async def test_a_picture_that_is_not_finite_is_a_fault(world: World, value: float) -> None:
    recorder = Recorder(world)
    image = np.zeros((1, 3, 32, 64), np.float32)
    image[0, 1, 5, 5] = value
    recorder.answers["vae_decoder"] = image
    with pytest.raises(EngineFaultError, match=r"^model small_vae_decoder: .*finite"):
        await run(world, recorder)


@pytest.mark.parametrize(
    ("network", "shape"),
    [
        ("text_encoder", (1, 8, 8)),  # would be broadcast over both rows
        ("text_encoder", (2, 9, 8)),
        ("unet", (2, 1, 4, 8)),  # would be broadcast over the channels
        ("unet", (1, 4, 4, 8)),
        ("unet", (2, 4, 8, 4)),
        ("vae_decoder", (1, 3, 16, 32)),  # would be enlarged unseen
        ("vae_decoder", (1, 4, 32, 64)),
        ("vae_decoder", (3, 32, 64)),
    ],
)
async def test_a_wrong_shape_is_a_fault_of_its_model(world: World, network: str, shape: tuple[int, ...]) -> None:
    recorder = Recorder(world)
    recorder.answers[network] = np.zeros(shape, np.float32)
    with pytest.raises(EngineFaultError, match=rf"^model small_{network} answered a tensor of shape \({shape[0]}, "):
        await run(world, recorder)


def test_steps_that_a_sampler_cannot_walk_are_refused(world: World) -> None:
    world.pipeline.check_steps(SamplerName.LCM, 50)
    with pytest.raises(InvalidRequestError, match=r"^steps: sampler lcm takes at most 50 steps, not 51$"):
        world.pipeline.check_steps(SamplerName.LCM, 51)
    for sampler in SamplerName:
        if sampler not in (SamplerName.LCM, SamplerName.TCD):  # of distilled models
            world.pipeline.check_steps(sampler, 150)


def test_a_short_training_schedule_limits_every_sampler(tmp_path: Path) -> None:
    text = FAMILIES.replace('"v_prediction"', '"v_prediction"\ntrain_steps = 100')
    pipeline = build(tmp_path, families=text).pipeline
    with pytest.raises(InvalidRequestError, match="at most 50 steps"):
        pipeline.check_steps(SamplerName.DDIM, 51)


@pytest.mark.parametrize("sampler", [*SamplerName])
async def test_every_sampler_makes_the_calls_that_its_work_counts(world: World, sampler: SamplerName) -> None:
    asked = PipelineInputs(
        prompt_ids=world.pipeline.tokenize("red").ids,
        negative_ids=world.pipeline.tokenize("").ids,
        size=(32, 32),
        seed=0,
        sampler=sampler,
        steps=5,
        guidance_scale=3.0,
    )
    pixels = await world.pipeline.run(world.networks.networks("small"), asked, ignore, Timer("small"))
    assert pixels.shape == (32, 32, 3)
    assert world.networks.calls == (9 if sampler in (SamplerName.HEUN, SamplerName.DPMPP_SDE) else 5)
    assert world.pipeline.work(asked) == 32 * 32 * 2 * world.networks.calls


async def test_steps_outside_the_interval_have_the_prompts_row_alone(world: World) -> None:
    recorder = Recorder(world)
    asked = replace(inputs(world.pipeline), guidance=Guidance(start=0.25, end=0.75))
    await world.pipeline.run(recorder.networks, asked, ignore, Timer("small"))
    assert [len(sample) for sample in recorder.samples] == [1, 2, 2, 1]
    assert (recorder.hidden[0][0] == recorder.hidden[1][1]).all()  # the prompt's
    assert world.pipeline.work(asked) == 64 * 32 * 6
    assert world.pipeline.rows_walked(asked.sampler, 4, 1.0, 2.0, asked.guidance) == 6


async def test_guidance_that_is_never_on_encodes_no_negative_prompt(world: World) -> None:
    never, none = Recorder(world), Recorder(world)
    asked = replace(inputs(world.pipeline), guidance=Guidance(start=0.5, end=0.5))
    without = await world.pipeline.run(none.networks, replace(asked, guidance_scale=1.0), ignore, Timer("small"))
    picture = await world.pipeline.run(never.networks, asked, ignore, Timer("small"))
    assert len(never.ids[0]) == 1
    np.testing.assert_array_equal(picture, without)


async def test_an_interval_of_a_picture_in_tiles(world: World) -> None:
    """Each tile has the rows of its step."""
    recorder = Recorder(world)
    asked = replace(inputs(world.pipeline), size=(64, 64), guidance=Guidance(end=0.5))
    await world.pipeline.run(recorder.networks, asked, ignore, Timer("small"))
    views = world.pipeline.views((64, 64))
    assert sum(len(sample) for sample in recorder.samples) == views * (2 + 2 + 1 + 1)
    assert world.pipeline.work(asked) == 32 * 32 * views * 6


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (GuidanceParams(start=0.8, end=0.5), "guidance.end: must be at least guidance.start, 0.8, not 0.5"),
        (GuidanceParams(start=1.0, end=0.99), "guidance.end"),
    ],
)
def test_an_interval_that_ends_before_it_begins_is_refused(world: World, asked: GuidanceParams, said: str) -> None:
    with pytest.raises(InvalidRequestError, match=re.escape(said)):
        world.pipeline.guidance(asked)


def test_guidance_takes_the_familys_defaults(tmp_path: Path) -> None:
    text = FAMILIES + 'default_guidance_end = 0.6\ndefault_guidance_rescale = 0.7\ndefault_guidance_method = "apg"\n'
    pipeline = build(tmp_path, families=text).pipeline
    decided = Guidance(end=0.6, rescale=0.7, method=GuidanceMethod.APG)
    assert pipeline.guidance(GuidanceParams()) == decided
    assert pipeline.guidance(GuidanceParams(end=1.0, eta=0.2)) == replace(decided, end=1.0, eta=0.2)


async def test_skipped_steps_ask_no_network_and_are_counted(world: World) -> None:
    recorder, reported, timer = Recorder(world), list[int](), Timer("small")
    recorder.answers["unet"] = np.zeros((2, 4, 4, 8), np.float32)  # predicts x₀ = α·x: it hardly bends
    asked = replace(inputs(world.pipeline, steps=12), sampler=SamplerName.DDIM, skip_tolerance=1.0)

    async def listener(done: StepDone) -> None:
        if done.stage is Stage.DENOISE and not done.tick:
            reported.append(done.step)

    await world.pipeline.run(recorder.networks, asked, listener, timer)
    (denoised,) = [each for each in timer.stages if each.stage is Stage.DENOISE]
    assert denoised.skipped == 12 - len(recorder.samples) > 0
    assert denoised.calls == len(recorder.samples)
    assert reported == list(range(1, 13))
    assert [float(t[0, 0]) for t in recorder.timesteps][:3] == [999, 916, 832]


async def test_no_tolerance_skips_nothing(world: World) -> None:
    recorder, timer = Recorder(world), Timer("small")
    recorder.answers["unet"] = np.zeros((2, 4, 4, 8), np.float32)
    await world.pipeline.run(recorder.networks, inputs(world.pipeline, steps=12), ignore, timer)
    assert len(recorder.samples) == 12
    assert {each.skipped for each in timer.stages} == {0}
