"""FLUX.1 (Black Forest Labs 2024): T5's hidden states, CLIP's pooled prompt, a transformer of two and of one stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from model_tools.checkpoints.dit.checkpoint import Text, TransformerCheckpoint
from model_tools.checkpoints.dit.tensors import JointAttention, RotaryIds, grid, pack, unpack
from model_tools.checkpoints.dit.text import tied
from model_tools.checkpoints.dit.vae import KLContract
from model_tools.checkpoints.presets import Preset

if TYPE_CHECKING:
    from diffusers import FluxTransformer2DModel
    from transformers import CLIPTextModel, T5EncoderModel

PATCH = 2
SIDE = 512
"""Positions along a side that the graph knows: of 16 pixels each."""


class FluxContract(nn.Module):
    """FluxTransformer2DModel behind the contract; with `guidance` where it was distilled with it."""

    def __init__(self, transformer: FluxTransformer2DModel) -> None:
        super().__init__()
        self.transformer = transformer
        dims = transformer.config.axes_dims_rope
        transformer.pos_embed = RotaryIds(dims, (1, SIDE, SIDE), 10000.0)
        for block in (*transformer.transformer_blocks, *transformer.single_transformer_blocks):
            block.attn.processor = JointAttention()

    def forward(
        self,
        sample: Tensor,
        timestep: Tensor,
        encoder_hidden_states: Tensor,
        text_embeds: Tensor,
        guidance: Tensor | None = None,
    ) -> Tensor:
        rows, columns = grid(sample.shape[2] // PATCH, sample.shape[3] // PATCH, sample.device)
        output: Tensor = self.transformer(
            pack(sample, PATCH),
            encoder_hidden_states=encoder_hidden_states,
            pooled_projections=text_embeds,
            timestep=timestep.squeeze(1) / 1000,
            img_ids=torch.stack([torch.zeros_like(rows), rows, columns], -1),
            txt_ids=torch.zeros(encoder_hidden_states.shape[1], 3, dtype=rows.dtype, device=sample.device),
            guidance=None if guidance is None else guidance.squeeze(1),
            return_dict=False,
        )[0]
        return unpack(output, sample, PATCH)


class FluxText(nn.Module):
    """Ids of CLIP and of T5, one after the other, to T5's hidden states and CLIP's pooled output."""

    def __init__(self, clip: CLIPTextModel, t5: T5EncoderModel, length: int) -> None:
        """`length`: tokens of CLIP."""
        super().__init__()
        self.clip, self.t5, self.length = clip, t5, length

    def forward(self, input_ids: Tensor) -> tuple[Tensor, Tensor]:
        first, second = input_ids[:, : self.length].long(), input_ids[:, self.length :].long()
        return self.t5(second)[0], self.clip(first).pooler_output


class Flux(TransformerCheckpoint):
    """FLUX.1-schnell, and FLUX.1-dev, which takes the guidance scale as an input."""

    architecture = "flux"
    title = "FLUX.1"
    pipelines = ("FluxPipeline", "FluxImg2ImgPipeline", "FluxInpaintPipeline")
    classes: ClassVar = {
        "text_encoder": ("CLIPTextModel",),
        "text_encoder_2": ("T5EncoderModel",),
        "transformer": ("FluxTransformer2DModel",),
        "vae": ("AutoencoderKL",),
    }
    pooled = True
    has_tiny_vae = True

    def require(self) -> None:
        """See TransformerCheckpoint.require."""
        transformer, clip, t5 = (self.configs[part] for part in ("transformer", "text_encoder", "text_encoder_2"))
        self.must("transformer", {"patch_size": 1, "out_channels": None})
        self.agree("channels of the latents", transformer.get("in_channels", 64), self.channels * PATCH**2)
        self.agree("width of the prompt", transformer.get("joint_attention_dim", 4096), t5["d_model"])
        self.agree("width of the pooled prompt", transformer.get("pooled_projection_dim", 768), clip["hidden_size"])

    @property
    def distilled(self) -> bool:
        """Whether guidance is an input: of FLUX.1-dev. FLUX.1-schnell was distilled to few steps without it."""
        return bool(self.configs["transformer"].get("guidance_embeds", False))

    @property
    def guidance(self) -> str:  # type: ignore[override]  # of each checkpoint
        """See TransformerCheckpoint."""
        return "embedding" if self.distilled else "classifier_free"

    @property
    def preset(self) -> Preset:  # type: ignore[override]  # of each checkpoint
        """As their model cards say."""
        return Preset("euler", 28, 3.5) if self.distilled else Preset("euler", 4, 1.0)

    @property
    def texts(self) -> tuple[Text, ...]:  # type: ignore[override]  # of each checkpoint
        """CLIP's, and T5's, whose length their model cards say."""
        clip = self.configs["text_encoder"].get("max_position_embeddings", 77)
        return Text("tokenizer", "CLIPTokenizer", clip), Text(
            "tokenizer_2", "T5TokenizerFast", 512 if self.distilled else 256
        )

    @property
    def vocabularies(self) -> tuple[int, ...]:
        """See TransformerCheckpoint.vocabularies."""
        return tuple(int(self.configs[part]["vocab_size"]) for part in ("text_encoder", "text_encoder_2"))

    @property
    def text_shape(self) -> tuple[int, int]:
        """See TransformerCheckpoint.text_shape."""
        return self.texts[1].length, int(self.configs["text_encoder_2"]["d_model"])

    @property
    def pooled_width(self) -> int:
        """See TransformerCheckpoint.pooled_width."""
        return int(self.configs["text_encoder"]["hidden_size"])

    def text_encoder(self) -> nn.Module:
        """See TransformerCheckpoint.text_encoder."""
        clip = self.language_model("text_encoder", "CLIPTextModel")
        t5 = self.language_model("text_encoder_2", "T5EncoderModel", tied)
        return FluxText(clip, t5, self.texts[0].length)

    def transformer(self) -> nn.Module:
        """See TransformerCheckpoint.transformer."""
        return FluxContract(self.diffuser("transformer"))

    def vae(self) -> nn.Module:
        """See TransformerCheckpoint.vae."""
        return KLContract(self.diffuser("vae"))
