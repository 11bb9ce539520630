"""Prompt to token ids, by Hugging Face's `tokenizers` (Rust): Triton never sees text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import tokenizers

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Tokens:
    """A prompt as the text encoder takes it."""

    ids: npt.NDArray[np.int32]
    """(1, length), padded; of several encoders a row for each."""
    used: int
    """Ids before the padding, special tokens included."""
    dropped: int
    """Tokens of the prompt that did not fit and were cut from its end."""


class Tokenizer:
    """A family's tokenizer.json, giving every prompt the encoder's fixed length."""

    def __init__(self, path: Path, length: int, pad_id: int) -> None:
        """Load `path`; encode to `length` ids, padded with `pad_id`.

        Raises:
            ValueError: the file is missing or no tokenizer; pad_id is none of its tokens; or it does not put one
                special token before and one after a prompt, as CLIP and BERT do: cutting a long prompt relies on it.
        """
        try:
            self._tokenizer = tokenizers.Tokenizer.from_file(str(path))
        except Exception as error:  # the Rust side raises bare Exception
            raise ValueError(f"{path} is not a tokenizer: {error}") from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        if not 0 <= pad_id < self._tokenizer.get_vocab_size():
            raise ValueError(f"pad_id {pad_id} is not a token of {path}")
        special = self._tokenizer.encode("a").special_tokens_mask
        if sum(special) != 2 or not special[0] or not special[-1]:
            raise ValueError(f"{path} does not frame a prompt by two special tokens")
        self._length = length
        self._pad_id = pad_id

    def encode(self, text: str) -> Tokens:
        """Tokenize any text: what has no place in UTF-8 (a lone surrogate) counts as U+FFFD."""
        ids = self._tokenizer.encode(_unicode(text)).ids
        dropped = max(0, len(ids) - self._length)
        if dropped:
            ids = [*ids[: self._length - 1], ids[-1]]
        padded = np.full((1, self._length), self._pad_id, np.int32)
        padded[0, : len(ids)] = ids
        return Tokens(padded, len(ids), dropped)


def _unicode(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
