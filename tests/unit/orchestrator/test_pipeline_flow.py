"""Families of flow matching through the one pipeline, over formulas."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from orchestrator.arrays import Floats
from orchestrator.diffusion.inputs import PipelineInputs, Start
from orchestrator.diffusion.noise import start_noise
from orchestrator.diffusion.pipeline import Pipeline
from orchestrator.diffusion.stages import StepDone, Timer
from orchestrator.errors import FamilyConfigError, InvalidRequestError
from orchestrator.models.contracts import AddedRows, Networks
from orchestrator.models.fakes import FakeNetworks
from orchestrator.models.families import Families
from orchestrator.params import Guidance, GuidanceMethod, GuidanceParams, SamplerName
from tests.unit.orchestrator.world import FAMILIES, write_families

FLOW = (
    FAMILIES.replace('prediction_type = "v_prediction"', 'prediction_type = "flow"\nshift = 3.0')
    .replace('default_sampler = "ddim"', 'default_sampler = "euler"')
    .replace('unet = "small_unet"', 'unet = "small_unet"\nvae_encoder = "small_vae_encoder"')
)
PICTURE = np.full((32, 64, 3), 200, np.uint8)


def pipeline_of(folder: Path, text: str = FLOW) -> Pipeline:
    families = Families.load(write_families(folder, text))
    return Pipeline(families.get(None), families.folder)


def inputs(pipeline: Pipeline, **changes: object) -> PipelineInputs:
    asked = PipelineInputs(
        prompt_ids=pipeline.tokenize("red house").ids,
        negative_ids=pipeline.tokenize("good").ids,
        size=(64, 32),
        seed=7,
        sampler=SamplerName.EULER,
        steps=4,
        guidance_scale=1.0,
    )
    return replace(asked, **changes)  # type: ignore[arg-type]


async def ignore(_done: StepDone) -> None:
    return


class Noted:
    """A UNet that answers the velocity to a grey picture, and notes what it is asked."""

    def __init__(self) -> None:
        self.samples: list[Floats] = []
        self.timesteps: list[float] = []
        self.added: list[AddedRows | None] = []

    async def __call__(
        self, sample: Floats, timestep: Floats, encoder_hidden_states: Floats, added: AddedRows | None = None
    ) -> Floats:
        assert len(sample) == len(timestep) == len(encoder_hidden_states)
        self.samples.append(sample)
        self.timesteps.append(float(timestep[0, 0]))
        self.added.append(added)
        return sample * np.float32(1000 / timestep[0, 0])  # x₀ = 0

    def networks(self) -> Networks:
        return replace(FakeNetworks().networks("small"), unet=self)


async def run(pipeline: Pipeline, asked: PipelineInputs) -> tuple[np.ndarray, Noted]:
    unet = Noted()
    return await pipeline.run(unet.networks(), asked, ignore, Timer("small")), unet


@pytest.mark.parametrize("sampler", ["euler", "heun", "dpmpp_2m", "lcm"])
async def test_the_network_is_given_a_thousandth_of_noise_and_its_velocity_leads_to_the_picture(
    tmp_path: Path, sampler: str
) -> None:
    pipeline = pipeline_of(tmp_path)
    picture, unet = await run(pipeline, inputs(pipeline, sampler=SamplerName(sampler)))
    assert unet.timesteps == sorted(unet.timesteps, reverse=True)
    assert unet.timesteps[0] == pytest.approx(1000, abs=1)
    np.testing.assert_array_equal(unet.samples[0], start_noise(7, (1, 4, 4, 8)))
    assert (np.abs(picture.astype(int) - 128) <= 1).all()


async def test_euler_visits_the_shifted_levels(tmp_path: Path) -> None:
    pipeline = pipeline_of(tmp_path)
    _, unet = await run(pipeline, inputs(pipeline))
    expected = [1000 * 3 * s / (1 + 2 * s) for s in (1, 0.75, 0.5, 0.25)]
    np.testing.assert_allclose(unet.timesteps, expected, rtol=1e-6)


async def test_the_shift_goes_by_tokens_of_what_the_network_sees(tmp_path: Path) -> None:
    text = FLOW.replace("shift = 3.0", 'shift_by = "size"\nbase_image_seq_len = 4\nmax_image_seq_len = 16')
    text = text.replace("scaling_factor", "patch = 2\nlatent_multiple = 2\nscaling_factor")
    pipeline = pipeline_of(tmp_path, text)
    _, unet = await run(pipeline, inputs(pipeline))  # 64 x 32 pixels: 4 x 2 tokens of 16 pixels
    factor = np.exp(0.5 + (1.15 - 0.5) * (8 - 4) / 12)
    assert unet.timesteps[1] == pytest.approx(1000 * factor * 0.75 / (1 + (factor - 1) * 0.75))
    _, tiled = await run(pipeline, inputs(pipeline, size=(96, 96)))  # in tiles of 32 x 32
    factor = np.exp(0.5)
    assert tiled.timesteps[-1] == pytest.approx(1000 * factor * 0.25 / (1 + (factor - 1) * 0.25))


async def test_a_walk_from_a_picture_begins_on_the_line_to_its_latents(tmp_path: Path) -> None:
    pipeline = pipeline_of(tmp_path)
    asked = inputs(pipeline, start=Start(PICTURE, 0.3))  # 1.2 of 4 steps: 2, as diffusers rounds here
    _, unet = await run(pipeline, asked)
    assert len(unet.samples) == pipeline.steps_walked(asked) == 2
    sigma = unet.timesteps[0] / 1000
    x0 = np.zeros((1, 4, 4, 8), np.float32)
    x0[:, :3] = np.arctanh(200 / 255 * 2 - 1) * 0.5
    np.testing.assert_allclose(unet.samples[0], (1 - sigma) * x0 + sigma * start_noise(7, x0.shape), atol=1e-5)


async def test_what_a_mask_keeps_is_put_back_on_the_line(tmp_path: Path) -> None:
    pipeline = pipeline_of(tmp_path)
    mask = np.zeros((32, 64), np.float32)
    mask[:, 32:] = 1
    picture, unet = await run(pipeline, inputs(pipeline, start=Start(PICTURE, 1.0), mask=mask))
    np.testing.assert_array_equal(unet.samples[0], start_noise(7, (1, 4, 4, 8)))  # strength 1: from noise alone
    assert (np.abs(picture[:, :32].astype(int) - 200) <= 1).all()
    assert (np.abs(picture[:, 32:].astype(int) - 128) <= 1).all()
    sigma = unet.timesteps[2] / 1000
    x0 = np.float32(np.arctanh(200 / 255 * 2 - 1) * 0.5)
    kept = (1 - sigma) * x0 + sigma * start_noise(7, (1, 4, 4, 8))[:, :3, :, :4]
    np.testing.assert_allclose(unet.samples[2][:, :3, :, :4], kept, atol=1e-5)


async def test_true_guidance_has_two_rows(tmp_path: Path) -> None:
    pipeline = pipeline_of(tmp_path)
    _, unet = await run(pipeline, inputs(pipeline, guidance_scale=4.0))
    assert {len(sample) for sample in unet.samples} == {2}
    assert set(unet.added) == {None}


async def test_guidance_as_an_embedding_is_an_input_of_one_row(tmp_path: Path) -> None:
    pipeline = pipeline_of(tmp_path, FLOW.replace("scaling_factor", 'guidance = "embedding"\nscaling_factor'))
    asked = inputs(pipeline, guidance_scale=3.5)
    _, unet = await run(pipeline, asked)
    assert {len(sample) for sample in unet.samples} == {1}
    for added in unet.added:
        assert added is not None
        assert {name: array.tolist() for name, array in added.tensors.items()} == {"guidance": [[3.5]]}
    assert pipeline.work(asked) == 64 * 32 * 4


def test_guidance_is_refused_where_the_family_has_none(tmp_path: Path) -> None:
    text = FLOW.replace("scaling_factor", 'guidance = "none"\nscaling_factor')
    with pytest.raises(FamilyConfigError, match="distilled to go without guidance"):
        pipeline_of(tmp_path, text)
    pipeline = pipeline_of(tmp_path, text.replace("default_guidance_scale = 2.0", "default_guidance_scale = 0.0"))
    pipeline.check_guidance(1.0)
    with pytest.raises(InvalidRequestError, match=r"guidance_scale.*leave it out"):
        pipeline.check_guidance(3.0)


def test_a_sampler_that_does_not_walk_it_is_refused_by_the_names_of_those_that_do(tmp_path: Path) -> None:
    pipeline = pipeline_of(tmp_path)
    assert SamplerName.EULER in pipeline.samplers
    with pytest.raises(InvalidRequestError, match=r"sampler.*use one of euler.*heun"):
        pipeline.check_steps(SamplerName.EULER_ANCESTRAL, 4)


def test_work_counts_the_second_calls(tmp_path: Path) -> None:
    pipeline = pipeline_of(tmp_path)
    assert pipeline.work(inputs(pipeline, sampler=SamplerName.HEUN)) == 64 * 32 * 7


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("shift = 3.0", "shift = 0.0"), r"schedule\.shift: "),
        (("shift = 3.0", "beta_start = 0.1"), r"schedule\.beta_start: "),
        (("shift = 3.0", "base_image_seq_len = 5000"), "base_image_seq_len must be below"),
        (("shift = 3.0", 'shift_by = "size_linear"\nbase_shift = -1.0'), "must be above 0"),
        (("scaling_factor", "patch = 2\nscaling_factor"), "latent_multiple 1 is not a multiple of patch 2"),
        (("scaling_factor", 'guidance = "none"\nguidance_norm = true\nscaling_factor'), "guidance_norm has no meaning"),
    ],
)
def test_tables_of_flow_that_are_wrong_are_refused_by_field(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    with pytest.raises(FamilyConfigError, match=said):
        pipeline_of(tmp_path, FLOW.replace(*change))


def test_settings_of_guidance_are_refused_where_it_has_no_rows(tmp_path: Path) -> None:
    pipeline = pipeline_of(tmp_path, FLOW.replace("scaling_factor", 'guidance = "embedding"\nscaling_factor'))
    assert pipeline.guidance(GuidanceParams()) == Guidance()
    with pytest.raises(InvalidRequestError, match=r"guidance: .*leave guidance out|leave guidance out"):
        pipeline.guidance(GuidanceParams(end=0.5))


async def test_cfg_zero_star_asks_no_network_in_its_first_step(tmp_path: Path) -> None:
    pipeline = pipeline_of(tmp_path)
    zero = Guidance(method=GuidanceMethod.CFG_ZERO_STAR)
    asked = inputs(pipeline, guidance_scale=4.0, guidance=zero)
    _, unet = await run(pipeline, asked)
    assert [len(sample) for sample in unet.samples] == [2, 2, 2]
    np.testing.assert_array_equal(unet.samples[0][0], start_noise(7, (1, 4, 4, 8))[0])  # as it was
    assert pipeline.work(asked) == 64 * 32 * 6
