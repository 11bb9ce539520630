"""SDXL in the one pipeline, over formulas: two encoders, pooled embeddings, time ids, and the empty negative prompt."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.diffusion import noise
from orchestrator.diffusion.inputs import Control, ImagePrompt, PipelineInputs, Start
from orchestrator.diffusion.pipeline import Pipeline
from orchestrator.diffusion.stages import Stage, Timer
from orchestrator.errors import EngineFaultError, FamilyConfigError, UnsupportedTaskError
from orchestrator.models.fakes import FakeNetworks
from orchestrator.models.families import Families
from orchestrator.params import SamplerName
from tests.unit.orchestrator.world import FAMILIES, write_families

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.arrays import Floats
    from orchestrator.diffusion.stages import StepDone
    from orchestrator.models.contracts import AddedRows, Ids, Networks

SDXL = 'text_encoder_2 = "small_text_encoder_2"\npad_id_2 = 3\nzero_empty_negative = true\n'
SIZE = (64, 32)
EVERY = FakeNetworks(without=frozenset({"face_encoder"}))
PICTURE = np.random.default_rng(0).integers(40, 215, (32, 64, 3)).astype(np.uint8)
EDGES: Floats = (noise.start_noise(1, (3, 32, 64)) > 1).astype(np.float32)
MASK: Floats = np.concatenate([np.zeros((32, 32)), np.ones((32, 32))], axis=1).astype(np.float32)
STEERED = {"control": Control(EDGES, 0.5), "image_prompt": ImagePrompt(PICTURE, 0.5)}


def pipeline(folder: Path, lines: str = SDXL) -> Pipeline:
    path = write_families(folder, FAMILIES.replace("pad_id = 0\n", f"pad_id = 0\n{lines}"))
    registry = Families.load(path)
    return Pipeline(registry.get(None), folder)


@pytest.fixture
def sdxl(tmp_path: Path) -> Pipeline:
    return pipeline(tmp_path)


@dataclass
class Spy:
    """What text encoders and UNets were asked."""

    ids: list[tuple[str, Ids]] = field(default_factory=list)
    unets: list[tuple[str, Floats, AddedRows | None]] = field(default_factory=list)

    def over(self, networks: Networks) -> Networks:
        """The same networks, watched."""
        encoders = {role: self._encoder(role, networks) for role in ("text_encoder", "text_encoder_2")}
        roles = ("unet", "inpaint_unet", "controlled_unet")
        unets = {role: self._unet(role, networks) for role in roles if getattr(networks, role) is not None}
        changed: dict[str, Any] = encoders | unets
        return replace(networks, **changed)

    def _encoder(self, role: str, networks: Networks) -> Any:
        async def call(ids: Ids, skip: int = 0) -> Any:
            self.ids.append((role, ids))
            return await getattr(networks, role)(ids, skip)

        return call

    def _unet(self, role: str, networks: Networks) -> Any:
        async def call(sample: Floats, timestep: Floats, hidden: Floats, *others: Any) -> Any:
            self.unets.append((role, hidden, others[-1]))
            return await getattr(networks, role)(sample, timestep, hidden, *others)

        return call


async def run(pipeline: Pipeline, networks: Networks, *, negative: str = "good", **changes: Any) -> Any:
    plain = PipelineInputs(
        prompt_ids=pipeline.tokenize("red house").ids,
        negative_ids=pipeline.tokenize(negative).ids,
        size=SIZE,
        seed=7,
        sampler=SamplerName.DDIM,
        steps=2,
        guidance_scale=2.0,
    )
    return await pipeline.run(networks, replace(plain, **changes), ignore, Timer("small"))


async def ignore(_done: StepDone) -> None:
    return


async def test_each_encoder_has_tokens_of_its_own(sdxl: Pipeline) -> None:
    spy = Spy()
    await run(sdxl, spy.over(EVERY.networks("small")))
    (first, ids), (second, ids_2) = spy.ids
    assert (first, second) == ("text_encoder", "text_encoder_2")
    assert ids.tolist() == [[1, 6, 2, 0, 0, 0, 0, 0], [1, 4, 5, 2, 0, 0, 0, 0]]
    assert ids_2.tolist() == [[1, 6, 2, 3, 3, 3, 3, 3], [1, 4, 5, 2, 3, 3, 3, 3]]
    assert (ids.dtype, ids_2.dtype) == (np.dtype(np.int32),) * 2


async def test_hidden_states_are_side_by_side_and_only_the_second_is_pooled(sdxl: Pipeline) -> None:
    spy, networks = Spy(), EVERY.networks("small")
    await run(sdxl, spy.over(networks))
    assert networks.text_encoder_2 is not None
    (_, ids), (_, ids_2) = spy.ids
    first = await networks.text_encoder(ids)
    second, pooled = await networks.text_encoder_2(ids_2)
    assert len(spy.unets) == 2
    for _, hidden, added in spy.unets:
        assert added is not None
        np.testing.assert_array_equal(hidden, np.concatenate([first, second], axis=2))
        np.testing.assert_array_equal(added.tensors["text_embeds"], pooled)
        np.testing.assert_array_equal(added.tensors["time_ids"], [[32, 64, 0, 0, 32, 64]] * 2)
        assert {added.tensors["text_embeds"].dtype, added.tensors["time_ids"].dtype} == {np.dtype(np.float32)}


@pytest.mark.parametrize(
    ("role", "changes"),
    [
        ("unet", {}),
        ("unet", {"start": Start(PICTURE, 0.9)}),
        ("inpaint_unet", {"start": Start(PICTURE, 1.0), "mask": MASK}),
        ("controlled_unet", {"control": Control(EDGES, 0.5)}),
        ("controlled_unet", STEERED | {"start": Start(PICTURE, 0.9), "mask": MASK}),
    ],
)
@pytest.mark.parametrize("guidance_scale", [1.0, 2.0])
async def test_every_unet_is_given_the_size(
    sdxl: Pipeline, role: str, changes: dict[str, Any], guidance_scale: float
) -> None:
    spy, rows = Spy(), 1 if guidance_scale == 1 else 2
    await run(sdxl, spy.over(EVERY.networks("small")), guidance_scale=guidance_scale, **changes)
    assert {name for name, *_ in spy.unets} == {role}
    for _, hidden, added in spy.unets:
        assert added is not None
        assert (len(hidden), len(added.tensors["text_embeds"]), added.tensors["time_ids"].shape) == (
            rows,
            rows,
            (rows, 6),
        )


async def test_an_empty_negative_prompt_is_zeros(sdxl: Pipeline) -> None:
    spy = Spy()
    await run(sdxl, spy.over(EVERY.networks("small")), negative="")
    assert [ids.tolist() for _, ids in spy.ids] == [[[1, 4, 5, 2, 0, 0, 0, 0]], [[1, 4, 5, 2, 3, 3, 3, 3]]]
    for _, hidden, added in spy.unets:
        assert added is not None
        assert [bool(np.any(array[0])) for array in (hidden, added.tensors["text_embeds"])] == [False, False]
        assert [bool(np.any(array[1])) for array in (hidden, added.tensors["text_embeds"])] == [True, True]
        np.testing.assert_array_equal(added.tensors["time_ids"][0], added.tensors["time_ids"][1])


@pytest.mark.parametrize(
    ("lines", "negative", "rows"),
    [
        (SDXL, "house", 2),
        (SDXL.replace("true", "false"), "", 2),
        (SDXL, " ", 1),
        ("zero_empty_negative = true\n", "", 1),
    ],
)
async def test_what_is_encoded_of_the_negative_prompt(lines: str, negative: str, rows: int, tmp_path: Path) -> None:
    spy = Spy()
    await run(pipeline(tmp_path, lines), spy.over(EVERY.networks("small")), negative=negative)
    assert {len(ids) for _, ids in spy.ids} == {rows}
    assert {len(hidden) for _, hidden, _ in spy.unets} == {2}
    assert all(np.any(hidden[0]) == (rows == 2) for _, hidden, _ in spy.unets)


async def test_without_a_second_encoder_nothing_is_added(tmp_path: Path) -> None:
    spy = Spy()
    await run(pipeline(tmp_path, ""), spy.over(EVERY.networks("small")))
    assert [role for role, _ in spy.ids] == ["text_encoder"]
    assert all(added is None and hidden.shape == (2, 8, 8) for _, hidden, added in spy.unets)


async def test_tiles_are_given_the_size_of_the_whole_picture(tmp_path: Path) -> None:
    spy, size = Spy(), (160, 96)
    tiled = pipeline(tmp_path, f"{SDXL}tile = [64, 32]\n")
    await run(tiled, spy.over(EVERY.networks("small")), size=size, steps=1)
    assert [len(hidden) for _, hidden, _ in spy.unets] == [8, 8, 8]
    for _, hidden, added in spy.unets:
        assert added is not None
        np.testing.assert_array_equal(added.tensors["time_ids"], [[96, 160, 0, 0, 96, 160]] * 8)
        for rows in (hidden, added.tensors["text_embeds"]):  # all tiles of one row, then of the other
            assert all((rows[n] == rows[4 * (n // 4)]).all() for n in range(8))
            assert (rows[0] != rows[4]).any()


async def test_both_encoders_count_as_calls(sdxl: Pipeline) -> None:
    timer = Timer("small")
    inputs = PipelineInputs(
        prompt_ids=sdxl.tokenize("red").ids,
        negative_ids=sdxl.tokenize("").ids,
        size=SIZE,
        seed=7,
        sampler=SamplerName.DDIM,
        steps=1,
        guidance_scale=2.0,
    )
    await sdxl.run(EVERY.networks("small"), inputs, ignore, timer)
    assert next((each.stage, each.calls) for each in timer.stages) == (Stage.ENCODE, 2)


@pytest.mark.parametrize(
    "shape", [((2, 9, 8), (2, 4)), ((1, 8, 8), (2, 4)), ((2, 8, 8), (1, 4)), ((2, 8, 8), (2, 4, 1))]
)
async def test_a_wrong_shape_is_a_fault_of_the_second_encoder(sdxl: Pipeline, shape: tuple[Any, Any]) -> None:
    async def wrong(input_ids: Ids, skip: int = 0) -> tuple[Floats, Floats]:  # noqa: ARG001  # of the contract
        assert len(input_ids) == 2
        return np.zeros(shape[0], np.float32), np.zeros(shape[1], np.float32)

    with pytest.raises(EngineFaultError, match=r"^model small_text_encoder_2 answered"):
        await run(sdxl, replace(EVERY.networks("small"), text_encoder_2=wrong))


async def test_a_missing_encoder_is_said_before_any_is_called(sdxl: Pipeline) -> None:
    networks, spy = FakeNetworks().networks("small"), Spy()
    with pytest.raises(UnsupportedTaskError, match="no text encoder 2"):
        await run(sdxl, replace(spy.over(networks), text_encoder_2=None))
    assert spy.ids == []


def longer_words(path: Path) -> None:
    """The same tokenizer, but of letters: a text has more tokens."""
    other = tokenizers.Tokenizer.from_file(str(path.with_name("tokenizer.json")))
    other.pre_tokenizer = tokenizers.pre_tokenizers.Split("", "isolated")
    other.save(str(path))


@given(words=st.lists(st.sampled_from(["red", "house", "good"]), max_size=12))
def test_what_is_lost_is_what_the_longer_of_both_loses(
    tmp_path_factory: pytest.TempPathFactory, words: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("sdxl")
    pipeline(folder)
    longer_words(folder / "letters.json")
    two = pipeline(folder, f'{SDXL}tokenizer_2 = "letters.json"\n')
    text = " ".join(words)
    tokens = two.tokenize(text)
    assert tokens.ids.shape == (2, 8)
    assert tokens.dropped == max(0, len(text) + 2 - 8, len(words) + 2 - 8)


def test_a_missing_second_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(FamilyConfigError, match=r"networks of small\] tokenizer: .*none.json"):
        pipeline(tmp_path, f'{SDXL}tokenizer_2 = "none.json"\n')
