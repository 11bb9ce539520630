"""Text encoders of transformers: language models and T5, as their pipelines take them, behind `input_ids`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from model_tools.checkpoints.dit.tensors import MASKED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from model_tools.checkpoints.weights import State


class LanguageContract(nn.Module):
    """A decoder-only language model (Qwen): hidden states behind some of its layers, side by side.

    Its layers behind the last of those are dropped.
    """

    def __init__(
        self, model: nn.Module, pad_id: int, layers: Sequence[int], *, dropped: int = 0, zeroed: bool = True
    ) -> None:
        """Wrap a model.

        Args:
            model: of transformers: embed_tokens, layers, norm, rotary_emb.
            pad_id: token id that fills up; it has no other use.
            layers: whose outputs are wanted, counted from 0, the embedding; the model's last is followed by its norm.
            dropped: tokens at the front whose hidden states are left out: a prompt template's.
            zeroed: whether hidden states of padding become zeros.
        """
        super().__init__()
        self.model, self.pad_id, self.wanted, self.dropped, self.zeroed = model, pad_id, tuple(layers), dropped, zeroed
        self.count = len(model.layers)
        model.config._attn_implementation = "eager"  # noqa: SLF001  # no other way to change it later
        del model.layers[max(layers) :]

    def forward(self, input_ids: Tensor) -> Tensor:
        ids, model = input_ids.long(), self.model
        kept = ids != self.pad_id
        length = ids.shape[1]
        earlier = torch.ones(length, length, dtype=torch.bool, device=ids.device).tril()
        bias = torch.where(earlier & kept[:, None, None, :], 0.0, MASKED)
        x = model.embed_tokens(ids)
        places = torch.arange(length, device=ids.device)[None]
        rotary = model.rotary_emb(x, self.positions(places))
        states = [x]
        for layer in model.layers:
            x = layer(x, attention_mask=bias.to(x.dtype), position_embeddings=rotary, position_ids=places)
            states.append(x)
        if len(model.layers) == self.count:
            states[-1] = model.norm(x)
        hidden = torch.cat([states[number] for number in self.wanted], -1)[:, self.dropped :]
        return hidden * kept[:, self.dropped :, None].to(hidden.dtype) if self.zeroed else hidden

    def positions(self, places: Tensor) -> Tensor:
        """What rotary_emb is given for places [1, L]."""
        return places


def tied(state: State) -> State:
    """T5's tensors with the embedding under both its names; files hold it once."""
    embedding = state.get("shared.weight", state.get("encoder.embed_tokens.weight"))
    if embedding is None:
        return state
    return {**state, "shared.weight": embedding, "encoder.embed_tokens.weight": embedding}
