"""Prompts, as the denoising loop takes them: tokens, hidden states, and what SDXL's UNets get in addition."""

from pathlib import Path
from typing import TypeVar

import numpy as np

from orchestrator.arrays import Floats
from orchestrator.diffusion.contract_checks import expect
from orchestrator.diffusion.emphasis import parse
from orchestrator.diffusion.guider import rows_of
from orchestrator.diffusion.inputs import PipelineInputs
from orchestrator.diffusion.stages import Steps
from orchestrator.diffusion.tokenizer import Tokenizer, Tokens
from orchestrator.models.contracts import AddedRows, Ids, Networks
from orchestrator.models.tables import NetworkTable

Array = TypeVar("Array", Ids, Floats)


class Prompts:
    """A family's tokenizers and text encoders: one of each, or SDXL's two. Holds no state of any request."""

    def __init__(self, table: NetworkTable, folder: Path) -> None:
        """Load the tokenizers, whose paths are relative to `folder`.

        Raises:
            ValueError: one does not load.
        """
        self._table = table
        assert table.tokenizer is not None  # noqa: S101  # NetworkTable
        assert table.pad_id is not None  # noqa: S101  # NetworkTable
        named = [(table.tokenizer, table.pad_id)]
        if table.text_encoder_2 is not None:
            pad_id = table.pad_id if table.pad_id_2 is None else table.pad_id_2
            named.append((table.tokenizer_2 or table.tokenizer, pad_id))
        self._tokenizers = [
            Tokenizer(folder / path, table.text_length, pad_id, chunks=table.text_chunks, embeddings=table.embeddings)
            for path, pad_id in named
        ]
        self._nothing: Ids = np.concatenate([tokenizer.encode("").ids for tokenizer in self._tokenizers])

    def tokenize(self, text: str, *, weighted: bool = False) -> Tokens:
        """Tokens of a text, a row for each text encoder; `used` and `dropped` are the larger of both tokenizers.

        Args:
            text: the prompt.
            weighted: whether its brackets are weights (emphasis.py).

        Raises:
            ValueError: its weights cannot be read.
        """
        prompt = parse(text) if weighted else text
        every = [tokenizer.encode(prompt) for tokenizer in self._tokenizers]
        count = max(tokens.ids.shape[1] for tokens in every) // self._table.text_length
        ids = np.concatenate([_lengthen(e.ids, n[None], count) for e, n in zip(every, self._nothing, strict=True)])
        weights = None
        if any(tokens.weights is not None for tokens in every):
            ones = np.ones((1, self._table.text_length), np.float32)
            weights = np.concatenate([_lengthen(ones if e.weights is None else e.weights, ones, count) for e in every])
        return Tokens(ids, max(e.used for e in every), max(e.dropped for e in every), weights)

    async def encode(self, networks: Networks, inputs: PipelineInputs, steps: Steps) -> tuple[Floats, AddedRows | None]:
        """Rows [negative, positive], or [positive] without guidance: hidden states, and for SDXL what is added.

        Each chunk of a prompt is encoded by itself, and their hidden states are joined; the shorter of both prompts is
        filled up with empty chunks. The pooled embedding is the first chunk's. Both encoders' hidden states are side by
        side. An empty negative prompt is zeros where the family says so. diffusers does so where none is given, and
        encodes one that is given as ""; here both are the same.
        """
        guided = rows_of(self._table.guidance, inputs.guidance_scale, inputs.guidance) > 1
        zeroed = guided and self._table.zero_empty_negative and np.array_equal(inputs.negative_ids, self._nothing)
        encoded = [inputs.negative_ids, inputs.prompt_ids] if guided and not zeroed else [inputs.prompt_ids]
        weights = [inputs.negative_weights, inputs.prompt_weights][-len(encoded) :]
        chunks = max(ids.shape[1] for ids in encoded) // self._table.text_length
        ids = np.stack([_lengthen(row, self._nothing, chunks) for row in encoded], axis=1)
        states, pooled = await self._encode(networks, ids, weights, inputs.clip_skip, steps)
        hidden = np.concatenate(states, axis=-1)
        if zeroed:
            hidden = np.concatenate([np.zeros_like(hidden), hidden])
        if pooled is None:
            return hidden, None
        if zeroed:
            pooled = np.concatenate([np.zeros_like(pooled), pooled])
        time_ids = None if self._table.flows else np.repeat(_time_ids(inputs), len(pooled), axis=0)
        return hidden, AddedRows(pooled, time_ids)

    async def _encode(
        self, networks: Networks, ids: Ids, weights: list[Floats | None], skip: int, steps: Steps
    ) -> tuple[list[Floats], Floats | None]:
        """Of ids (E, R, n * L): each encoder's hidden states (R, n * L, D), and the last one's pooled (R, P)."""
        rows, length = ids.shape[1], self._table.text_length
        weighted = any(each is not None for each in weights)
        states: list[Floats] = []
        pooled: Floats | None = None
        for number, nothing in enumerate(self._nothing):
            chunks = ids[number].reshape(-1, length)
            if weighted:  # the last row is the empty prompt's
                chunks = np.concatenate([chunks, nothing[None]])
            hidden, pooled = await self._call(networks, number, chunks, skip, steps)
            joined = hidden[: len(hidden) - weighted].reshape(rows, -1, hidden.shape[-1])
            if weighted:
                scales = [None if each is None else each[number] for each in weights]
                joined = np.stack([_weigh(row, hidden[-1], each) for row, each in zip(joined, scales, strict=True)])
            states.append(joined)
        if pooled is not None:
            pooled = pooled[: ids.shape[2] // length * rows : ids.shape[2] // length]
        return states, pooled

    async def _call(
        self, networks: Networks, number: int, ids: Ids, skip: int, steps: Steps
    ) -> tuple[Floats, Floats | None]:
        """Of ids (n, L), in calls of as many rows as the networks take: hidden states, and what is pooled."""
        hidden: list[Floats] = []
        pooled: list[Floats] = []
        for start in range(0, len(ids), networks.max_rows):
            batch = ids[start : start + networks.max_rows]
            await steps.call()
            if number == 0:
                name, answer = self._table.text_encoder, await networks.text_encoder(batch, skip)
            else:
                assert networks.text_encoder_2 is not None  # noqa: S101  # encoding._check_networks
                name = str(self._table.text_encoder_2)
                answer, vectors = await networks.text_encoder_2(batch, skip)
                expect(name, vectors, (len(batch), vectors.shape[-1]))
                pooled.append(vectors)
            expect(name, answer, (*batch.shape, answer.shape[-1]))
            hidden.append(answer)
        return np.concatenate(hidden), np.concatenate(pooled) if pooled else None


def _lengthen(array: Array, chunk: Array, count: int) -> Array:
    """(E, n * L) with copies of a chunk (E, L) behind it, up to `count` chunks."""
    return np.concatenate([array, *[chunk] * (count - array.shape[1] // chunk.shape[1])], axis=1)


def _weigh(hidden: Floats, empty: Floats, weights: Floats | None) -> Floats:
    """Hidden states (n * L, D), each moved from the empty prompt's (L, D) at its place: empty + w (hidden - empty).

    As ComfyUI does. A weight of 1 leaves a token's own as it is, bit for bit. Scaling hidden states themselves, and
    their mean back, as AUTOMATIC1111 does, fails where that mean is near 0.
    """
    if weights is None:
        return hidden
    base = np.tile(empty, (len(hidden) // len(empty), 1))
    scale = np.ones((len(hidden), 1), np.float32)
    scale[: len(weights), 0] = weights
    return np.where(scale == 1, hidden, base + scale * (hidden - base)).astype(np.float32)


def _time_ids(inputs: PipelineInputs) -> Floats:
    """(1, 6), as diffusers has them by default: the whole picture, uncut, at the size at which the UNet runs.

    Of a picture in tiles, too: each tile gets the sizes of the whole, as it gets its prompt.
    """
    width, height = inputs.size
    return np.array([[height, width, 0, 0, height, width]], np.float32)
