"""Tokenizers of a transformer's checkpoint as tokenizer.json, and the prompt templates of its pipeline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from model_tools.checkpoints.dit.checkpoint import Text, read_tokenizer
from model_tools.checkpoints.errors import CheckpointError
from orchestrator.diffusion.texts import TextTokenizer

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PreTrainedTokenizerBase

    from model_tools.checkpoints.dit.checkpoint import TransformerCheckpoint

PROMPT = "{prompt}"


def write_texts(checkpoint: TransformerCheckpoint, folder: Path) -> list[dict[str, Any]]:
    """Write a tokenizer.json for each text into `folder`.

    Returns:
        The rows of `texts` in families.toml: tokenizer, length, pad_id, template.

    Raises:
        CheckpointError: files are missing, a tokenizer has more words than its text encoder knows, or its template does
            not hold the prompt once.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, (text, words) in enumerate(zip(checkpoint.texts, checkpoint.vocabularies, strict=True)):
        source = checkpoint.tokenizer_folder(text)
        tokens = read_tokenizer(source, text.kind)
        if len(tokens) > words:
            raise CheckpointError(
                f"{source}: has {len(tokens)} tokens, the text encoder knows {words}: another model's"
            )
        target = folder / f"tokenizer{f'_{number + 1}' if number else ''}.json"
        tokens.backend_tokenizer.save(str(target))
        row = {
            "tokenizer": f"{folder.name}/{target.name}",
            "length": text.length,
            "pad_id": tokens.pad_token_id,
            "template": _template(source, text, tokens),
        }
        try:
            TextTokenizer(target, text.length, tokens.pad_token_id, row["template"])
        except ValueError as error:
            raise CheckpointError(f"{source}: {error}") from error
        rows.append(row)
    return rows


def _template(source: Path, text: Text, tokens: PreTrainedTokenizerBase) -> str:
    """The text that the pipeline puts around a prompt."""
    if text.chat is None:
        return text.template
    messages = [{"role": "user", "content": PROMPT}]
    try:
        template = tokens.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, **text.chat)
    except Exception as error:  # Jinja's and transformers' own
        raise CheckpointError(f"{source}: the chat template cannot be used: {error}") from error
    if not isinstance(template, str) or template.count(PROMPT) != 1:
        raise CheckpointError(f"{source}: the chat template does not hold the prompt once")
    return template
