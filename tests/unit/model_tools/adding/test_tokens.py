"""Tokenizers: tokenizer.json as it is, or made of the two files that older checkpoints have."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import CLIPTokenizer

from model_tools.adding.tokens import write_tokenizers
from model_tools.checkpoints.checkpoint import Checkpoint
from model_tools.checkpoints.errors import CheckpointError
from model_tools.checkpoints.inputs import Inputs
from model_tools.goldens.cases import TEXTS
from orchestrator.diffusion.tokenizer import Tokenizer

Copy = Callable[[str], Path]

pytestmark = pytest.mark.tools


def test_sdxl_has_two_with_fillers_of_their_own(made: Path, tmp_path: Path) -> None:
    assert write_tokenizers(Checkpoint(Inputs(made / "sdxl")), tmp_path) == [561, 0]
    require_same(made / "sdxl" / "tokenizer", tmp_path / "tokenizer.json", 561)
    require_same(made / "sdxl" / "tokenizer_2", tmp_path / "tokenizer_2.json", 0)


@pytest.mark.parametrize(("pad", "number"), [("<|endoftext|>", 561), ("!", 0)])
def test_older_files_give_transformers_tokens(copy: Copy, tmp_path: Path, pad: str, number: int) -> None:
    folder = copy("sd")
    whole = folder / "tokenizer" / "tokenizer.json"
    model = json.loads(whole.read_text("utf-8"))["model"]
    whole.unlink()
    # As Stable Diffusion 1.5 and 2 have them.
    merges = [" ".join(pair) for pair in model["merges"]]
    (folder / "tokenizer/vocab.json").write_text(json.dumps(model["vocab"]), "utf-8")
    (folder / "tokenizer/merges.txt").write_text("\n".join(["#version: 0.2", *merges]), "utf-8")
    special = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    (folder / "tokenizer/special_tokens_map.json").write_text(json.dumps(special | {"pad_token": pad}))
    settings = {"do_lower_case": True, "model_max_length": 77, "tokenizer_class": "CLIPTokenizer", "pad_token": pad}
    (folder / "tokenizer/tokenizer_config.json").write_text(json.dumps(special | settings))
    assert write_tokenizers(Checkpoint(Inputs(folder)), tmp_path / "old") == [number]
    require_same(folder / "tokenizer", tmp_path / "old" / "tokenizer.json", number)


def require_same(theirs: Path, ours: Path, pad: int) -> None:
    tokens, tokenizer = CLIPTokenizer.from_pretrained(theirs), Tokenizer(ours, 77, pad)
    for text in TEXTS:
        expected = tokens(text, padding="max_length", max_length=77, truncation=True).input_ids
        assert tokenizer.encode(text).ids.tolist() == [expected], text


def test_a_vocabulary_larger_than_the_text_encoders_is_refused(copy: Copy, tmp_path: Path) -> None:
    folder = copy("sd")
    config = folder / "text_encoder/config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"vocab_size": 500}))
    with pytest.raises(CheckpointError, match="has 562 tokens, the text encoder knows 500: another model's"):
        write_tokenizers(Checkpoint(Inputs(folder)), tmp_path)


def test_what_is_not_a_tokenizer_is_refused(copy: Copy, tmp_path: Path) -> None:
    folder = copy("sd")
    (folder / "tokenizer/tokenizer.json").write_text("{}")
    with pytest.raises(CheckpointError, match="not a CLIP tokenizer"):
        write_tokenizers(Checkpoint(Inputs(folder)), tmp_path)
