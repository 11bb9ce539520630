"""Tokenizers of a checkpoint as tokenizer.json, and the ids that fill up its prompts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from transformers import CLIPTokenizer

from model_tools.checkpoints.errors import CheckpointError
from orchestrator.diffusion.tokenizer import Tokenizer

if TYPE_CHECKING:
    from pathlib import Path

    from model_tools.checkpoints.checkpoint import Checkpoint

SLOW = ("vocab.json", "merges.txt")


def write_tokenizers(checkpoint: Checkpoint, folder: Path) -> list[int]:
    """Write tokenizer.json, and tokenizer_2.json of SDXL, into `folder`.

    Returns:
        The id that fills up, of each.

    Raises:
        CheckpointError: files are missing, or it has more words than its text encoder knows.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pads: list[int] = []
    for source, known, name in (
        (checkpoint.tokenizer_folder("text_encoder"), checkpoint.text_config, "tokenizer.json"),
        (checkpoint.tokenizer_folder("text_encoder_2"), checkpoint.text_config_2, "tokenizer_2.json"),
    ):
        if source is None or known is None:
            continue
        tokens = _read(source, folder / name)
        if len(tokens) > known.get("vocab_size", 49408):
            raise CheckpointError(
                f"{source}: has {len(tokens)} tokens, the text encoder knows {known['vocab_size']}: another model's"
            )
        given = checkpoint.pad_id(len(pads))
        pads.append(tokens.pad_token_id if given is None else given)
        try:
            Tokenizer(folder / name, known.get("max_position_embeddings", 77), pads[-1])
        except ValueError as error:
            raise CheckpointError(f"{source}: {error}") from error
    return pads


def _read(source: Path, target: Path) -> CLIPTokenizer:
    """The tokenizer of a folder; `target` becomes its tokenizer.json."""
    slow = all((source / name).is_file() for name in SLOW)
    if not (source / "tokenizer.json").is_file() and not slow:
        raise CheckpointError(f"{source}: has neither tokenizer.json nor {' and '.join(SLOW)}")
    try:
        tokens = CLIPTokenizer.from_pretrained(source, local_files_only=True)
    except Exception as error:  # tokenizers' Rust side raises bare Exception
        raise CheckpointError(f"{source}: not a CLIP tokenizer: {error}") from error
    # Not the file as it is: what tokenizer_config.json adds counts, too (SDXL's second fills up with "!", which
    # is a token of its own then, wherever it is in a prompt).
    tokens.backend_tokenizer.save(str(target))
    return tokens
