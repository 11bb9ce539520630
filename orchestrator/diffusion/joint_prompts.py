"""Prompts of text encoders that are language models, or several in one graph: ids of all tokenizers in a row."""

from pathlib import Path

import numpy as np

from orchestrator.arrays import Floats
from orchestrator.diffusion.contract_checks import expect
from orchestrator.diffusion.guider import rows_of
from orchestrator.diffusion.inputs import PipelineInputs
from orchestrator.diffusion.stages import Steps
from orchestrator.diffusion.texts import TextTokenizer
from orchestrator.diffusion.tokenizer import Tokens
from orchestrator.models.contracts import AddedRows, Networks
from orchestrator.models.tables import NetworkTable


class JointPrompts:
    """Prompts of a family whose text encoder takes the ids of `texts`. Holds no state of any request."""

    def __init__(self, table: NetworkTable, folder: Path) -> None:
        """Load the tokenizers, whose paths are relative to `folder`.

        Raises:
            ValueError: one does not load.
        """
        self._table = table
        self._tokenizers = [
            TextTokenizer(folder / text.tokenizer, text.length, text.pad_id, text.template) for text in table.texts
        ]

    def tokenize(self, text: str, *, weighted: bool = False) -> Tokens:  # noqa: ARG002  # as of Prompts
        """Ids (1, L) of a text, all tokenizers' one after the other.

        `used` is of the one that needs the most; `dropped` are tokens that none of them has room for.
        Weights in brackets are refused before (tasks/plan.py).
        """
        every = [tokenizer.encode(text) for tokenizer in self._tokenizers]
        ids = np.concatenate([tokens.ids for tokens in every], axis=1)
        return Tokens(ids, max(tokens.used for tokens in every), min(tokens.dropped for tokens in every))

    async def encode(self, networks: Networks, inputs: PipelineInputs, steps: Steps) -> tuple[Floats, AddedRows | None]:
        """Rows [negative, positive], or [positive] without guidance: hidden states, and what is pooled."""
        guided = rows_of(self._table.guidance, inputs.guidance_scale, inputs.guidance) > 1
        ids = np.concatenate([inputs.negative_ids, inputs.prompt_ids] if guided else [inputs.prompt_ids])
        name, pooled = self._table.text_encoder, None
        await steps.call()
        if networks.joint_text_encoder is not None:
            hidden, pooled = await networks.joint_text_encoder(ids)
            expect(name, pooled, (len(ids), pooled.shape[-1]))
        else:
            hidden = await networks.text_encoder(ids)
        expect(name, hidden, (len(ids), *hidden.shape[1:]))
        return hidden, None if pooled is None else AddedRows(pooled)
