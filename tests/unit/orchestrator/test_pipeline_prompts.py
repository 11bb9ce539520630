"""Long prompts, weights in brackets and clip skip, in the one pipeline over formulas."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from orchestrator.diffusion.inputs import PipelineInputs
from orchestrator.diffusion.pipeline import Pipeline
from orchestrator.diffusion.stages import Timer
from orchestrator.errors import InvalidRequestError
from orchestrator.models.fakes import FakeNetworks
from orchestrator.models.families import Families
from orchestrator.params import Limits, RequestParams, SamplerName, TextToImage
from orchestrator.tasks import plan
from tests.unit.orchestrator.world import FAMILIES, TEXT_LENGTH, write_families

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.arrays import Floats
    from orchestrator.diffusion.stages import StepDone
    from orchestrator.diffusion.tokenizer import Tokens
    from orchestrator.models.contracts import AddedRows, Ids, Networks

LONG = "text_chunks = 3\nmax_clip_skip = 2\n"
SDXL = f'{LONG}text_encoder_2 = "small_text_encoder_2"\npad_id_2 = 3\nzero_empty_negative = true\n'
EVERY = FakeNetworks(without=frozenset({"face_encoder", "inpaint_unet"}))
PLAIN, SECOND = EVERY.networks("small"), EVERY.networks("small")


def opened(folder: Path, lines: str = LONG) -> Pipeline:
    path = write_families(folder, FAMILIES.replace("pad_id = 0\n", f"pad_id = 0\n{lines}"))
    return Pipeline(Families.load(path).get(None), folder)


@dataclass
class Spy:
    """What the text encoders and the UNet are given."""

    rows: list[int] = field(default_factory=list)
    hidden: list[Floats] = field(default_factory=list)
    added: list[AddedRows | None] = field(default_factory=list)

    def over(self, networks: Networks) -> Networks:
        async def text_encoder(ids: Ids, skip: int = 0) -> Floats:
            self.rows.append(len(ids))
            return await networks.text_encoder(ids, skip)

        async def unet(sample: Floats, timestep: Floats, hidden: Floats, added: AddedRows | None = None) -> Floats:
            self.hidden.append(hidden)
            self.added.append(added)
            assert networks.unet is not None
            return await networks.unet(sample, timestep, hidden, added)

        changed: dict[str, Any] = {"text_encoder": text_encoder, "unet": unet}
        return replace(networks, **changed)


async def ignore(_done: StepDone) -> None:
    return


def given(prompt: Tokens, negative: Tokens, **changes: Any) -> PipelineInputs:
    inputs = PipelineInputs(
        prompt_ids=prompt.ids,
        negative_ids=negative.ids,
        size=(64, 32),
        seed=7,
        sampler=SamplerName.DDIM,
        steps=1,
        guidance_scale=2.0,
        prompt_weights=prompt.weights,
        negative_weights=negative.weights,
    )
    return replace(inputs, **changes)


async def run(pipeline: Pipeline, prompt: str, negative: str = "good", **changes: Any) -> Spy:
    spy = Spy()
    tokens = [pipeline.tokenize(text, weighted=True) for text in (prompt, negative)]
    networks = replace(spy.over(EVERY.networks("small")), max_rows=changes.pop("max_rows", 8))
    await pipeline.run(networks, given(*tokens, **changes), ignore, Timer("small"))
    return spy


async def encoded(text: str, pipeline: Pipeline, skip: int = 0) -> Floats:
    return (await PLAIN.text_encoder(pipeline.tokenize(text).ids.reshape(-1, TEXT_LENGTH), skip)).reshape(-1, 8)


async def test_chunks_are_encoded_each_by_itself_and_joined(tmp_path: Path) -> None:
    pipeline = opened(tmp_path)
    spy = await run(pipeline, "red " * 8)
    assert spy.rows == [4]
    negative, positive = spy.hidden[0]
    first, second = await encoded("red " * 6, pipeline), await encoded("red red", pipeline)
    np.testing.assert_array_equal(positive, np.concatenate([first, second]))
    np.testing.assert_array_equal(
        negative, np.concatenate([await encoded("good", pipeline), await encoded("", pipeline)])
    )


async def test_the_longer_negative_prompt_lengthens_the_prompt(tmp_path: Path) -> None:
    pipeline = opened(tmp_path)
    spy = await run(pipeline, "red", "good " * 14)
    negative, positive = spy.hidden[0]
    assert positive.shape == (3 * TEXT_LENGTH, 8)
    empty = await encoded("", pipeline)
    np.testing.assert_array_equal(positive, np.concatenate([await encoded("red", pipeline), empty, empty]))
    np.testing.assert_array_equal(negative[-8:], await encoded("good good", pipeline))


async def test_calls_have_no_more_rows_than_the_networks_take(tmp_path: Path) -> None:
    pipeline = opened(tmp_path)
    few = await run(pipeline, "red " * 18, max_rows=4)
    assert few.rows == [4, 2]
    np.testing.assert_array_equal(few.hidden[0], (await run(pipeline, "red " * 18)).hidden[0])


async def test_a_weighted_token_moves_away_from_the_empty_prompt(tmp_path: Path) -> None:
    pipeline = opened(tmp_path)
    plain, weighted = await run(pipeline, "red house"), await run(pipeline, "red (house:1.5)")
    assert (plain.rows, weighted.rows) == ([2], [3])
    empty, expected = await encoded("", pipeline), plain.hidden[0].copy()
    expected[1, 2] = empty[2] + 1.5 * (expected[1, 2] - empty[2])
    np.testing.assert_allclose(weighted.hidden[0], expected, atol=1e-6)
    changed = (weighted.hidden[0] != plain.hidden[0]).any(axis=-1)
    assert changed.tolist() == [[False] * 8, [False, False, True, *[False] * 5]]  # all others bit for bit


async def test_weights_of_both_prompts_and_of_later_chunks(tmp_path: Path) -> None:
    pipeline = opened(tmp_path)
    plain = await run(pipeline, "red red red red red red house", "good")
    spy = await run(pipeline, "red red red red red red (house:2)", "(good:0)")
    changed = (spy.hidden[0] != plain.hidden[0]).any(axis=-1)
    assert np.argwhere(changed).tolist() == [[0, 1], [1, 9]]
    empty = await encoded("", pipeline)
    np.testing.assert_allclose(spy.hidden[0][0, 1], empty[1], atol=1e-6)


async def test_brackets_are_text_unless_they_are_weights(tmp_path: Path) -> None:
    pipeline = opened(tmp_path)
    assert pipeline.tokenize("red (house)").used == 6  # brackets are unknown words here
    assert pipeline.tokenize("red (house)", weighted=True).used == 4


async def test_clip_skip_reaches_every_encoder(tmp_path: Path) -> None:
    pipeline = opened(tmp_path)
    spy = await run(pipeline, "red", clip_skip=1)
    np.testing.assert_array_equal(spy.hidden[0][1], await encoded("red", pipeline, 1))
    both = opened(tmp_path, SDXL)
    plain, skipped = await run(both, "red"), await run(both, "red", clip_skip=2)
    np.testing.assert_allclose(skipped.hidden[0], plain.hidden[0] / 4, rtol=1e-6)
    assert plain.added[0] is not None
    assert skipped.added[0] is not None
    np.testing.assert_array_equal(skipped.added[0].text_embeds, plain.added[0].text_embeds)


async def test_of_sdxl_the_pooled_embedding_is_the_first_chunks(tmp_path: Path) -> None:
    pipeline = opened(tmp_path, SDXL)
    long, short = await run(pipeline, "red " * 8, "(good:2)"), await run(pipeline, "red " * 6, "good")
    assert long.hidden[0].shape == (2, 2 * TEXT_LENGTH, 16)
    assert long.added[0] is not None
    assert short.added[0] is not None
    np.testing.assert_array_equal(long.added[0].text_embeds, short.added[0].text_embeds)
    nothing = await run(pipeline, "red " * 8, "")
    assert nothing.hidden[0].shape == (2, 2 * TEXT_LENGTH, 16)
    assert not nothing.hidden[0][0].any()


def planned(pipeline: Pipeline, folder: Path, **asked: Any) -> plan.Plan:
    family = Families.load(folder / "families.toml").get(None)
    return plan.plan(RequestParams(task=TextToImage(), limits=Limits(), **{"prompt": "red", **asked}), family, pipeline)


def test_a_family_that_cannot_skip_layers_is_named(tmp_path: Path) -> None:
    pipeline = opened(tmp_path, "")
    with pytest.raises(InvalidRequestError, match="clip_skip: is 1, but family small accepts none"):
        planned(pipeline, tmp_path, clip_skip=1)
    assert planned(opened(tmp_path), tmp_path, clip_skip=2).clip_skip == 2
    with pytest.raises(InvalidRequestError, match="accepts up to 2"):
        planned(opened(tmp_path), tmp_path, clip_skip=3)


def test_weights_that_cannot_be_read_are_refused_before_the_work(tmp_path: Path) -> None:
    pipeline = opened(tmp_path)
    for field_name in ("prompt", "negative_prompt"):
        with pytest.raises(
            InvalidRequestError, match=f"^{field_name}: gives .* the weight 99; weights are from 0 to 10"
        ):
            planned(pipeline, tmp_path, prompt_weights=True, **{field_name: "(red:99)"})
        assert planned(pipeline, tmp_path, **{field_name: "(red:99)"})  # brackets are text by default


def test_the_family_says_what_brackets_are(tmp_path: Path) -> None:
    write_families(tmp_path, FAMILIES + "prompt_weights = true\n")
    family = Families.load(tmp_path / "families.toml").get(None)
    asked = {
        choice: RequestParams(task=TextToImage(), limits=Limits(), prompt="a", prompt_weights=choice)
        for choice in (None, True, False)
    }
    assert {choice: plan.is_weighted(params, family) for choice, params in asked.items()} == {
        None: True,
        True: True,
        False: False,
    }
