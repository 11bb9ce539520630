"""`python -m model_tools add-embedding`: a word of its own vectors, in graph and tokenizer; or nothing has changed."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from engines.network import Network, find_graph, read_digest
from model_tools.adding import add_embedding
from model_tools.export import folders, graphs
from model_tools.goldens import cases as golden_cases
from model_tools.goldens import tiny
from orchestrator.diffusion.prompts import Prompts
from orchestrator.models.families import Families
from tests.unit.model_tools.adding.test_add_lora import TABLES

if TYPE_CHECKING:
    from pathlib import Path

WORDS = 562
"""Of the tiny vocabulary."""


@pytest.fixture(scope="module")
def encoder() -> Any:
    torch.manual_seed(0)
    return tiny.text_encoder(WORDS)


@pytest.fixture(scope="module")
def exported(encoder: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    path = folders.graph_path(folder / "models", "small_text_encoder")
    graphs.export_text_encoder(encoder, path, length=77, fp16_weights=False)
    folders.finish_folder(folder / "models", "small_text_encoder", precision="f32")
    (folder / "families.toml").write_text(TABLES.replace("pad_id = 0", "pad_id = 561"), "utf-8")
    shutil.copy(golden_cases.TOKENIZER, folder / "t.json")
    return folder


@pytest.fixture
def family(exported: Path, tmp_path: Path) -> Path:
    return shutil.copytree(exported, tmp_path / "family")


def run(family: Path, *words: str) -> int:
    places = ("--repository", str(family / "models"), "--families", str(family / "families.toml"))
    return add_embedding.main([*words, *places])


def save(path: Path, *vectors: Any, name: str = "emb_params") -> torch.Tensor:
    tensor = torch.stack(vectors) if len(vectors) > 1 else vectors[0]
    save_file({name: tensor.contiguous()}, path)
    return tensor


def prompts(family: Path) -> Prompts:
    return Prompts(Families.load(family / "families.toml").get("small").networks, family)


def hidden(family: Path, ids: Any) -> Any:
    return Network(find_graph(family / "models/small_text_encoder/1"), "f32").run({"input_ids": ids})["hidden_states"]


def contents(family: Path) -> dict[str, bytes]:
    return {str(path.relative_to(family)): path.read_bytes() for path in family.rglob("*") if path.is_file()}


def test_a_word_has_its_vectors(family: Path, encoder: Any, tmp_path: Path) -> None:
    plain = hidden(family, prompts(family).tokenize("a red house").ids).copy()
    cat, sea = torch.randn(2, tiny.HIDDEN), torch.randn(tiny.HIDDEN)
    save(tmp_path / "cat.safetensors", *cat)
    save(tmp_path / "sea.safetensors", sea, name="<sea>")
    for word, file in (("<cat>", "cat"), ("<sea>", "sea")):
        assert run(family, "small", word, str(tmp_path / f"{file}.safetensors"), "--license", "mit") == 0
    tokens = prompts(family).tokenize("a <cat> house, <sea>")
    assert [token for token in tokens.ids[0] if token >= WORDS] == [WORDS, WORDS + 1, WORDS + 2]
    np.testing.assert_array_equal(hidden(family, prompts(family).tokenize("a red house").ids), plain)
    embedding = encoder.get_input_embeddings()
    kept = embedding.weight.data
    try:
        embedding.weight.data = torch.cat([kept, cat, sea[None]])
        with torch.no_grad():
            wanted = encoder(torch.from_numpy(tokens.ids).long()).last_hidden_state.numpy()
    finally:
        embedding.weight.data = kept
    assert np.abs(hidden(family, tokens.ids) - wanted).max() < 1e-4
    table = Families.load(family / "families.toml").get("small").networks
    assert table.embeddings == {"<cat>": 2, "<sea>": 1}
    config = (family / "models/small_text_encoder/config.pbtxt").read_text()
    assert read_digest(find_graph(family / "models/small_text_encoder/1")) in config


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("<cat>", "{cat}"), "names no licence"),
        (("<cat>", "{cat}", "--license", "cc-by-nc-4.0"), "does not allow commercial use"),
        (("<cat>", "{missing}", "--license", "mit"), "missing.safetensors"),
        (("<cat>", "{pickle}", "--license", "mit"), "pickle"),
        (("<cat>", "{wide}", "--license", "mit"), "has vectors of 33 numbers"),
        (("<cat>", "{many}", "--license", "mit"), "not 1 to 64 vectors"),
        (("<cat>", "{two}", "--license", "mit"), "has one tensor, this file has 2"),
        (("<cat>", "{nan}", "--license", "mit"), "nan.safetensors"),
        (("a cat", "{cat}", "--license", "mit"), "a token is one word"),
        (("", "{cat}", "--license", "mit"), "a token is one word"),
        (("red</w>", "{cat}", "--license", "mit"), "has red</w> already"),
    ],
)
def test_wrong_ones_change_nothing(
    words: tuple[str, ...], said: str, family: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pickle.pt").write_bytes(b"\x80\x04N.")
    save(tmp_path / "cat.safetensors", torch.ones(tiny.HIDDEN))
    save(tmp_path / "wide.safetensors", torch.ones(33))
    save(tmp_path / "many.safetensors", torch.ones(65, tiny.HIDDEN))
    save(tmp_path / "nan.safetensors", torch.full((tiny.HIDDEN,), torch.nan))
    save_file({"a": torch.ones(tiny.HIDDEN), "b": torch.ones(tiny.HIDDEN)}, tmp_path / "two.safetensors")
    before = contents(family)
    files = {name: tmp_path / f"{name}.safetensors" for name in ("cat", "missing", "wide", "many", "two", "nan")}
    given = [word.format(**files, pickle=tmp_path / "pickle.pt") for word in words]
    assert run(family, "small", *given) == 1
    line = capsys.readouterr().err
    assert said in line
    assert line.count("\n") == 1
    assert contents(family) == before
