"""Prompts to token ids: equal to transformers', for what people write and for what they had better not."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from model_tools.goldens import cases as golden_cases
from orchestrator.diffusion.emphasis import parse
from orchestrator.diffusion.tokenizer import Tokenizer

STARTER = Path(__file__).parents[3] / "families" / "starter" / "tokenizer.json"
BOS, EOS = 560, 561
"""Of the tiny vocabulary; EOS pads, too."""

CLIP = Tokenizer(golden_cases.TOKENIZER, golden_cases.TEXT_LENGTH, EOS)
any_text = st.text(st.characters(exclude_categories=[]), max_size=200)
"""Lone surrogates and unassigned characters, too."""


@pytest.mark.parametrize("number", range(len(golden_cases.TEXTS)))
@pytest.mark.parametrize("kind", ["clip", "bert"])
def test_ids_equal_transformers(kind: str, number: int) -> None:
    tokenizer = CLIP if kind == "clip" else Tokenizer(STARTER, golden_cases.BERT_LENGTH, 0)
    stored = json.loads(golden_cases.TOKENS.read_text())[kind][number]
    ids = tokenizer.encode(golden_cases.TEXTS[number]).ids
    assert ids.dtype == np.int32
    assert ids.tolist() == [stored]


def test_a_short_prompt_is_framed_and_padded() -> None:
    tokens = CLIP.encode("red house")
    assert tokens.used == 4
    assert tokens.dropped == 0
    assert tokens.ids[0, 0] == BOS
    assert tokens.ids[0, 3:].tolist() == [EOS] * 74


def test_a_long_prompt_is_cut_and_keeps_its_end_token() -> None:
    """75 tokens fit between the two special ones."""
    assert CLIP.encode("red " * 75).dropped == 0
    tokens = CLIP.encode("red " * 100)
    assert (tokens.used, tokens.dropped) == (77, 25)
    assert tokens.ids[0, -1] == EOS
    assert EOS not in tokens.ids[0, :-1]


@given(any_text)
def test_any_text_gives_ids_of_the_vocabulary(text: str) -> None:
    tokens = CLIP.encode(text)
    assert tokens.ids.shape == (1, 77)
    assert tokens.ids[0, 0] == BOS
    assert tokens.ids[0, tokens.used - 1] == EOS
    assert tokens.ids.min() >= 0
    assert tokens.ids.max() <= EOS


def test_a_lone_surrogate_counts_as_the_replacement_character() -> None:
    np.testing.assert_array_equal(CLIP.encode("red \ud83c house").ids, CLIP.encode("red \ufffd house").ids)
    np.testing.assert_array_equal(CLIP.encode("\ud83c\udfe0").ids, CLIP.encode("\U0001f3e0").ids)


@pytest.mark.parametrize("text", ["a" * 100_000, "red house, " * 9_000, "\U0001f3e0" * 50_000, "\0" * 100_000])
def test_a_hundred_thousand_characters_take_no_second(text: str) -> None:
    start = time.process_time()
    assert CLIP.encode(text).dropped > 0
    assert time.process_time() - start < 1


def test_encoding_ignores_cutting_and_padding_that_the_file_asks_for(tmp_path: Path) -> None:
    other = tokenizers.Tokenizer.from_file(str(golden_cases.TOKENIZER))
    other.enable_truncation(5)
    other.enable_padding(length=9, pad_id=1)
    other.save(str(tmp_path / "tokenizer.json"))
    ours = Tokenizer(tmp_path / "tokenizer.json", 77, EOS)
    np.testing.assert_array_equal(ours.encode("red " * 20).ids, CLIP.encode("red " * 20).ids)


def test_a_missing_or_broken_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nowhere\.json is not a tokenizer"):
        Tokenizer(tmp_path / "nowhere.json", 77, 0)
    (tmp_path / "broken.json").write_text('{"version": "1.0"}')
    with pytest.raises(ValueError, match=r"broken\.json is not a tokenizer"):
        Tokenizer(tmp_path / "broken.json", 77, 0)


def test_a_tokenizer_that_does_not_frame_prompts_is_refused(tmp_path: Path) -> None:
    frameless = json.loads(golden_cases.TOKENIZER.read_text()) | {"post_processor": None}
    (tmp_path / "frameless.json").write_text(json.dumps(frameless))
    with pytest.raises(ValueError, match="does not frame"):
        Tokenizer(tmp_path / "frameless.json", 77, 0)


LONG = Tokenizer(golden_cases.TOKENIZER, golden_cases.TEXT_LENGTH, EOS, chunks=3)


def test_a_prompt_within_the_limit_is_one_chunk_whatever_the_family_takes() -> None:
    for text in ("", "red house", "red " * 75):
        np.testing.assert_array_equal(LONG.encode(text).ids, CLIP.encode(text).ids)


def test_a_long_prompt_is_cut_into_framed_chunks() -> None:
    tokens = LONG.encode("red " * 80 + "house")
    first, second = tokens.ids.reshape(2, 77)
    red, house = CLIP.encode("red house").ids[0, 1:3]
    assert first.tolist() == [BOS, *[red] * 75, EOS]
    assert second.tolist() == [BOS, *[red] * 5, house, EOS, *[EOS] * 69]
    assert (tokens.used, tokens.dropped, tokens.weights) == (85, 0, None)


def test_a_prompt_of_more_chunks_than_the_family_takes_is_cut() -> None:
    tokens = LONG.encode("red " * 230)
    assert tokens.ids.shape == (1, 3 * 77)
    assert tokens.dropped == 5


def test_no_word_is_split_between_chunks() -> None:
    word = "zqxjkv"
    size = CLIP.encode(word).used - 2
    assert size > 1
    ids = CLIP.encode(word).ids[0, 1 : size + 1].tolist()
    first, second = LONG.encode("red " * 74 + word).ids.reshape(2, 77)
    assert first.tolist()[75:] == [EOS, EOS]
    assert second.tolist()[: size + 2] == [BOS, *ids, EOS]
    assert LONG.encode("q" * 1000).dropped + 3 * 75 == CLIP.encode("q" * 1000).dropped + 75


def test_weights_are_of_their_words_alone() -> None:
    red, house = CLIP.encode("red house").ids[0, 1:3]
    tokens = LONG.encode(parse("red (house:1.5) " + "red " * 74))
    assert tokens.weights is not None
    np.testing.assert_array_equal(tokens.ids[0, :3], [BOS, red, house])
    expected = np.ones(2 * 77, np.float32)
    expected[2] = 1.5
    np.testing.assert_array_equal(tokens.weights, [expected])
    assert LONG.encode(parse("red [(house)]")).weights is None
