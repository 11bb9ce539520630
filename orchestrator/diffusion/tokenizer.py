"""Prompt to token ids, by Hugging Face's `tokenizers` (Rust): Triton never sees text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import tokenizers

from orchestrator.diffusion.emphasis import Segment

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True)
class Tokens:
    """A prompt as the text encoder takes it: n chunks of its length L, each framed by the special tokens and padded.

    Attributes:
        ids: (1, n * L); of several encoders a row for each.
        used: ids before the padding, special tokens included, of all chunks.
        dropped: tokens of the prompt that did not fit and were cut from its end.
        weights: as `ids`, the weight of each token; None where all are 1.
    """

    ids: npt.NDArray[np.int32]
    used: int
    dropped: int
    weights: npt.NDArray[np.float32] | None = None


class Tokenizer:
    """A family's tokenizer.json, giving every prompt a multiple of the encoder's fixed length."""

    def __init__(
        self, path: Path, length: int, pad_id: int, *, chunks: int = 1, embeddings: Mapping[str, int] | None = None
    ) -> None:
        """Load `path`; encode to chunks of `length` ids, padded with `pad_id`.

        Args:
            path: of tokenizer.json.
            length: tokens that the encoder takes.
            pad_id: token id that fills up.
            chunks: the most that a prompt may take; what exceeds them is cut.
            embeddings: tokens of the vocabulary that stand for several ids each, their own and those after it: textual
                inversions of several vectors.

        Raises:
            ValueError: the file is missing or not a tokenizer; pad_id or an embedding is not one of its tokens; or it
                does not put one special token before and one after a prompt, as CLIP and BERT do: cutting a long
                prompt relies on it.
        """
        try:
            self._tokenizer = tokenizers.Tokenizer.from_file(str(path))
        except Exception as error:  # the Rust side raises bare Exception
            raise ValueError(f"{path} is not a tokenizer: {error}") from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        size = self._tokenizer.get_vocab_size()
        if not 0 <= pad_id < size:
            raise ValueError(f"pad_id {pad_id} is not a token of {path}")
        framed = self._tokenizer.encode("a")
        special = framed.special_tokens_mask
        if sum(special) != 2 or not special[0] or not special[-1]:
            raise ValueError(f"{path} does not frame a prompt by two special tokens")
        self._first, self._last = framed.ids[0], framed.ids[-1]
        self._length, self._pad_id, self._most = length, pad_id, chunks
        self._vectors: dict[int, int] = {}
        for token, count in (embeddings or {}).items():
            start = self._tokenizer.token_to_id(token)
            if start is None:
                raise ValueError(f"embedding {token!r} is not a token of {path}")
            self._vectors[start] = count

    def encode(self, prompt: str | Sequence[Segment]) -> Tokens:
        """Tokenize a text, or one in segments of equal weight.

        What has no place in UTF-8 (a lone surrogate) counts as U+FFFD. A word is not split between two chunks.
        """
        segments = [Segment(prompt, 1.0)] if isinstance(prompt, str) else prompt
        ids, words, weights = [], [], []
        for number, segment in enumerate(segments):
            for token, word in self._tokens(segment.text):
                ids.append(token)
                words.append((number, word))
                weights.append(segment.weight)
        chunks = self._chunks(words)
        placed = np.full((len(chunks), self._length), self._pad_id, np.int32)
        scales = np.ones(placed.shape, np.float32)
        for row, scale, (start, end) in zip(placed, scales, chunks, strict=True):
            row[: end - start + 2] = [self._first, *ids[start:end], self._last]
            scale[1 : end - start + 1] = weights[start:end]
        kept = chunks[-1][1]
        return Tokens(
            placed.reshape(1, -1),
            kept + 2 * len(chunks),
            len(ids) - kept,
            None if (scales == 1).all() else scales.reshape(1, -1),
        )

    def _tokens(self, text: str) -> Iterator[tuple[int, int | None]]:
        """Ids of a text without its frame, and the number of the word that each belongs to."""
        encoding = self._tokenizer.encode(as_unicode(text), add_special_tokens=False)
        for token, word in zip(encoding.ids, encoding.word_ids, strict=True):
            for more in range(self._vectors.get(token, 1)):
                yield token + more, word

    def _chunks(self, words: Sequence[object]) -> list[tuple[int, int]]:
        """Where each chunk begins and ends, among the tokens; at least one."""
        room, start = self._length - 2, 0
        found: list[tuple[int, int]] = []
        while not found or (start < len(words) and len(found) < self._most):
            end = min(start + room, len(words))
            if end < len(words) and len(found) + 1 < self._most:
                whole = next((at for at in range(end, start, -1) if words[at] != words[at - 1]), end)
                end = whole
            found.append((start, end))
            start = end
        return found


def as_unicode(text: str) -> str:
    """The text with U+FFFD for what has no place in UTF-8 (a lone surrogate)."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
