"""Prompts in the template of their language model, by Hugging Face's `tokenizers` (Rust). For CLIP: tokenizer.py."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import tokenizers

from orchestrator.diffusion.tokenizer import Tokens, as_unicode

if TYPE_CHECKING:
    from pathlib import Path

PROMPT = "{prompt}"


class TextTokenizer:
    """A tokenizer.json, and the template that its model wants around a prompt."""

    def __init__(self, path: Path, length: int, pad_id: int, template: str = PROMPT) -> None:
        """Load `path`; encode to `length` ids, padded with `pad_id` at the end.

        Special tokens of the template ("<|im_start|>") count as such; what looks like one in a prompt is text.

        Raises:
            ValueError: the file is missing or no tokenizer, pad_id is none of its tokens, or the template leaves no
                room for a prompt, or does not hold it once.
        """
        try:
            self._tokenizer = tokenizers.Tokenizer.from_file(str(path))
        except Exception as error:  # the Rust side raises bare Exception
            raise ValueError(f"{path} is no tokenizer: {error}") from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        if not 0 <= pad_id < self._tokenizer.get_vocab_size():
            raise ValueError(f"pad_id {pad_id} is no token of {path}")
        if template.count(PROMPT) != 1:
            raise ValueError('template needs "{prompt}" exactly once')
        before, around, after = self._split(template)
        self._around, self._length, self._pad_id = around, length, pad_id
        self._framed = template == PROMPT
        self._before = self._tokenizer.encode(before, add_special_tokens=False).ids
        self._after = self._tokenizer.encode(after, add_special_tokens=False).ids
        self._tokenizer.encode_special_tokens = True
        if self.encode("").used >= length:
            raise ValueError(f"the template alone has more than {length} tokens")

    def _split(self, template: str) -> tuple[str, str, str]:
        """The template before, around and behind the prompt: special tokens are where a text may be cut in pieces."""
        specials = [token.content for token in self._tokenizer.get_added_tokens_decoder().values() if token.special]
        pieces = re.split("(" + "|".join(map(re.escape, specials)) + ")", template) if specials else [template]
        place = next(number for number, piece in enumerate(pieces) if PROMPT in piece)
        return "".join(pieces[:place]), pieces[place], "".join(pieces[place + 1 :])

    def encode(self, prompt: str) -> Tokens:
        """Tokenize any text: what has no place in UTF-8 (a lone surrogate) counts as U+FFFD.

        What is too long is cut at the end, but for the special tokens that the tokenizer itself puts there (T5, CLIP):
        as transformers does it.
        """
        text = self._around.replace(PROMPT, as_unicode(prompt))
        encoding = self._tokenizer.encode(text, add_special_tokens=self._framed)
        ids = [*self._before, *encoding.ids, *self._after]
        dropped = max(0, len(ids) - self._length)
        if dropped:
            tail = _closing(encoding.special_tokens_mask) if self._framed else 0
            ids = [*ids[: self._length - tail], *ids[len(ids) - tail :]]
        padded = np.full((1, self._length), self._pad_id, np.int32)
        padded[0, : len(ids)] = ids
        return Tokens(padded, len(ids), dropped)


def _closing(special: list[int]) -> int:
    """How many special tokens are at the end."""
    return next((number for number, flag in enumerate(reversed(special)) if not flag), len(special))
