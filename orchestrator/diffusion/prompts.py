"""Prompts, as the denoising loop takes them: tokens, hidden states, and what SDXL's UNets get in addition."""

from pathlib import Path

import numpy as np

from orchestrator.arrays import Floats
from orchestrator.diffusion import guidance
from orchestrator.diffusion.answers import expect
from orchestrator.diffusion.inputs import PipelineInputs
from orchestrator.diffusion.stages import Steps
from orchestrator.diffusion.tokenizer import Tokenizer, Tokens
from orchestrator.models.contracts import AddedRows, Ids, Networks
from orchestrator.models.tables import NetworkTable


class Prompts:
    """A family's tokenizers and text encoders: one of each, or SDXL's two. Holds no state of any request."""

    def __init__(self, table: NetworkTable, folder: Path) -> None:
        """Load the tokenizers, whose paths are relative to `folder`.

        Raises:
            ValueError: one does not load.
        """
        self._table = table
        named = [(table.tokenizer, table.pad_id)]
        if table.text_encoder_2 is not None:
            pad_id = table.pad_id if table.pad_id_2 is None else table.pad_id_2
            named.append((table.tokenizer_2 or table.tokenizer, pad_id))
        self._tokenizers = [Tokenizer(folder / path, table.text_length, pad_id) for path, pad_id in named]
        self._nothing = self.tokenize("").ids

    def tokenize(self, text: str) -> Tokens:
        """Token ids of a text, a row for each text encoder; `used` and `dropped` are the larger of both tokenizers."""
        every = [tokenizer.encode(text) for tokenizer in self._tokenizers]
        return Tokens(
            np.concatenate([tokens.ids for tokens in every]),
            max(tokens.used for tokens in every),
            max(tokens.dropped for tokens in every),
        )

    async def encode(self, networks: Networks, inputs: PipelineInputs, steps: Steps) -> tuple[Floats, AddedRows | None]:
        """Rows [negative, positive], or [positive] without guidance: hidden states, and for SDXL what is added.

        Both encoders' hidden states lie side by side. An empty negative prompt is zeros where the family says so.
        diffusers does so where none is given, and encodes one that is given as ""; here both are the same.
        """
        guided = guidance.rows_of(self._table.guidance, inputs.guidance_scale) > 1
        zeroed = guided and self._table.zero_empty_negative and np.array_equal(inputs.negative_ids, self._nothing)
        encoded = [inputs.negative_ids, inputs.prompt_ids] if guided and not zeroed else [inputs.prompt_ids]
        ids = np.stack(encoded, axis=1)
        hidden, pooled = await self._encode(networks, ids, steps)
        if zeroed:
            hidden = np.concatenate([np.zeros_like(hidden), hidden])
        if pooled is None:
            return hidden, None
        if zeroed:
            pooled = np.concatenate([np.zeros_like(pooled), pooled])
        time_ids = None if self._table.flows else np.repeat(_time_ids(inputs), len(pooled), axis=0)
        return hidden, AddedRows(pooled, time_ids)

    async def _encode(self, networks: Networks, ids: Ids, steps: Steps) -> tuple[Floats, Floats | None]:
        """Of ids (E, n, L) for E encoders: hidden states (n, L, D), and pooled (n, P) where there are two."""
        await steps.call()
        hidden = await networks.text_encoder(ids[0])
        expect(self._table.text_encoder, hidden, (*ids.shape[1:], hidden.shape[-1]))
        name, second = self._table.text_encoder_2, networks.text_encoder_2
        if name is None or second is None:
            return hidden, None
        await steps.call()
        further, pooled = await second(ids[1])
        expect(name, further, (*ids.shape[1:], further.shape[-1]))
        expect(name, pooled, (ids.shape[1], pooled.shape[-1]))
        return np.concatenate([hidden, further], axis=-1), pooled


def _time_ids(inputs: PipelineInputs) -> Floats:
    """(1, 6), as diffusers has them by default: the whole picture, uncut, at the size at which the UNet runs.

    Of a picture in tiles, too: each tile gets the sizes of the whole, as it gets its prompt.
    """
    width, height = inputs.size
    return np.array([[height, width, 0, 0, height, width]], np.float32)
