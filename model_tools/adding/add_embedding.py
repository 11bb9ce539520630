"""`python -m model_tools add-embedding FAMILY TOKEN FILE`: a textual inversion that prompts may contain, or nothing.

The vectors are further rows of the text encoders' token embeddings (Gal et al. 2022, arXiv:2208.01618), in a file next
to each graph (engines/additions.py); the tokenizers know the word. Graphs themselves stay as they are.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import openvino as ov
from tokenizers import AddedToken, Tokenizer

from engines import additions
from model_tools.adding import config, table
from model_tools.adding.exchange import exchange
from model_tools.adding.family import WRONG, Added, declare_options
from model_tools.adding.staging import AddError
from model_tools.checkpoints.errors import CheckpointError
from model_tools.checkpoints.licences import settle
from model_tools.checkpoints.weights import read_state, require_finite, require_no_pickle
from orchestrator.models.specs import TEXT_ENCODERS
from orchestrator.models.tables import MAX_EMBEDDINGS, MAX_VECTORS

if TYPE_CHECKING:
    from numpy.typing import NDArray

KEYS = {"text_encoder": ("clip_l",), "text_encoder_2": ("clip_g",)}
"""What files for SDXL call the vectors of each encoder; those for one encoder have one tensor of any name."""
MAX_TOKEN = 64


def main(words: list[str]) -> int:
    """Add an embedding to a family.

    Returns:
        0; 1 after an error, with one line that says it and nothing changed.
    """
    given = _parse(words)
    try:
        files, count = _addition(given)
        exchange(files)
    except WRONG as error:
        print(f"add-embedding: {str(error).strip() or type(error).__name__}", file=sys.stderr)
        return 1
    vectors = "1 vector" if count == 1 else f"{count} vectors"
    print(f"{given.family}: prompts may contain {given.token} ({vectors}); restart the service to use it")
    return 0


def _parse(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m model_tools add-embedding",
        description="Give a textual inversion to a family that OpenVINO runs: prompts may then contain its word.",
    )
    parser.add_argument("family", help="one of families.toml; all families of the same networks get the embedding")
    parser.add_argument("token", help='the word that prompts contain, such as "<cat-toy>"')
    parser.add_argument("file", type=Path, help="a .safetensors file of diffusers' or AUTOMATIC1111's layout")
    declare_options(parser)
    return parser.parse_args(words)


def _addition(given: argparse.Namespace) -> tuple[dict[Path, bytes | None], int]:
    """What changes, and the number of vectors.

    Raises:
        CheckpointError, AddError: it does not fit; the message says why.
    """
    added = Added.find(given.families, given.family, given.repository)
    if not given.token.isprintable() or given.token.split() != [given.token] or len(given.token) > MAX_TOKEN:
        raise AddError(f"{given.token[:MAX_TOKEN]!r}: a token is one word of up to {MAX_TOKEN} printable characters")
    if len(added.table.embeddings) == MAX_EMBEDDINGS:
        raise AddError(f"{given.family} has {MAX_EMBEDDINGS} embeddings, and takes no more")
    settle(given.file, given.license, (), allow_non_commercial=given.allow_non_commercial)
    vectors = _read(given.file, both=added.table.text_encoder_2 is not None)
    files: dict[Path, bytes | None] = {}
    tokenizers: dict[Path, bytes] = {}
    for role, array in vectors.items():
        path = added.table.tokenizer if role == "text_encoder" else added.table.tokenizer_2 or added.table.tokenizer
        files |= _model(added, role, array, given.file)
        place = given.families.parent / path
        if place not in tokenizers:
            tokenizers[place] = _tokenizer(place, given.token, len(array), added)
    count = len(next(iter(vectors.values())))
    embeddings = {**added.table.embeddings, given.token: count}
    text = table.with_key(given.families.read_text("utf-8"), added.networks, "embeddings", embeddings)
    return {**files, **tokenizers, given.families: text.encode()}, count


def _read(file: Path, *, both: bool) -> dict[str, NDArray[np.float32]]:
    """Vectors (n, width) of each text encoder."""
    require_no_pickle(file, allow_pickle=False)
    state = read_state([file])
    require_finite(state, str(file))
    tensors = {name: tensor.float().numpy() for name, tensor in state.items()}
    if both:
        missing = [keys[0] for keys in KEYS.values() if keys[0] not in tensors]
        if missing:
            raise CheckpointError(f"{file}: an embedding for SDXL has clip_l and clip_g, this file lacks {missing[0]}")
        found = {role: tensors[keys[0]] for role, keys in KEYS.items()}
    elif len(tensors) != 1:
        raise CheckpointError(f"{file}: an embedding for one text encoder has one tensor, this file has {len(tensors)}")
    else:
        found = {"text_encoder": next(iter(tensors.values()))}
    found = {role: array[None] if array.ndim == 1 else array for role, array in found.items()}
    counts = {len(array) if array.ndim == 2 else 0 for array in found.values()}
    if len(counts) != 1 or not 1 <= min(counts) <= MAX_VECTORS:
        shapes = ", ".join(str(list(array.shape)) for array in found.values())
        raise CheckpointError(f"{file}: has the shapes {shapes}, not 1 to {MAX_VECTORS} vectors for each text encoder")
    return found


def _model(added: Added, role: str, vectors: NDArray[np.float32], file: Path) -> dict[Path, bytes | None]:
    """The files of a text encoder's folder that change."""
    model = added.table.roles[role]
    graph = added.graphs(frozenset({role}))[model]
    _, width = additions.vocabulary(ov.Core().read_model(str(graph)))
    if vectors.shape[1] != width:
        raise CheckpointError(
            f"{file}: has vectors of {vectors.shape[1]} numbers, the {role} of {added.networks} takes {width}"
        )
    path = graph.with_name(additions.EMBEDDINGS)
    if path.is_file():
        vectors = np.concatenate([np.load(path, allow_pickle=False)["vectors"], vectors])
    packed = io.BytesIO()
    np.savez(packed, vectors=vectors.astype(np.float32))
    settings = added.repository / model / "config.pbtxt"
    text = config.with_digest(settings.read_text("utf-8"), graph, {additions.EMBEDDINGS: packed.getvalue()})
    return {path: packed.getvalue(), settings: text.encode()}


def _tokenizer(path: Path, token: str, count: int, added: Added) -> bytes:
    """tokenizer.json with the word, and with names for its further vectors, whose ids follow its own.

    Raises:
        AddError: the vocabulary has the word, or is not the text encoders'.
    """
    tokens = Tokenizer.from_file(str(path))
    if tokens.token_to_id(token) is not None:
        raise AddError(f"{path}: the vocabulary has {token} already; choose another token")
    graph = added.graphs(TEXT_ENCODERS)[added.table.text_encoder]
    rows, _ = additions.vocabulary(ov.Core().read_model(str(graph)))
    stored = graph.with_name(additions.EMBEDDINGS)
    rows += len(np.load(stored, allow_pickle=False)["vectors"]) if stored.is_file() else 0
    size = tokens.get_vocab_size()
    if size != rows:
        raise AddError(f"{path}: has {size} tokens, the text encoder embeds {rows}: new words would get wrong vectors")
    names = [token, *(f"{token}_{number}" for number in range(1, count))]
    tokens.add_tokens([AddedToken(name, single_word=False, normalized=False) for name in names])
    if [tokens.token_to_id(name) for name in names] != list(range(size, size + count)):
        raise AddError(f"{path}: takes no further words")
    document: dict[str, Any] = json.loads(tokens.to_str())
    return json.dumps(document, ensure_ascii=False, indent=2).encode()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
