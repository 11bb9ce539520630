"""FLUX.2 klein (Black Forest Labs 2026): Qwen3's hidden states of three layers, latents in patches of 2 x 2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from model_tools.checkpoints.dit.checkpoint import Text, TransformerCheckpoint
from model_tools.checkpoints.dit.tensors import JointAttention, RotaryIds, attend, grid, pack, rotate, unpack
from model_tools.checkpoints.dit.text import LanguageContract
from model_tools.checkpoints.errors import CheckpointError
from model_tools.checkpoints.presets import Preset

if TYPE_CHECKING:
    from diffusers import AutoencoderKLFlux2, Flux2Transformer2DModel

PATCH = 2
"""Of the autoencoder's own latents; the channels of 2 x 2 of them are what is denoised."""
SIDE = 512
LAYERS = (9, 18, 27)
"""Of Qwen3, whose outputs are side by side."""
LENGTH = 512


class ParallelAttention:
    """Attention and feed-forward of diffusers' single-stream blocks of FLUX.2, in one projection."""

    def __call__(
        self,
        attn: Any,  # noqa: ANN401  # diffusers' Flux2ParallelSelfAttention, which it does not export
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        image_rotary_emb: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        sizes = [attn.inner_dim] * 3 + [attn.mlp_hidden_dim * attn.mlp_mult_factor]
        *heads, further = attn.to_qkv_mlp_proj(hidden_states).split(sizes, -1)
        query, key, value = (each.unflatten(-1, (attn.heads, attn.head_dim)) for each in heads)
        query, key = attn.norm_q(query), attn.norm_k(key)
        if image_rotary_emb is not None:
            query, key = rotate(query, *image_rotary_emb), rotate(key, *image_rotary_emb)
        attended = attend(query, key, value, attention_mask)
        output: Tensor = attn.to_out(torch.cat([attended, attn.mlp_act_fn(further)], -1))
        return output


class Flux2Contract(nn.Module):
    """Flux2Transformer2DModel behind the contract; with `guidance` where it was distilled with it."""

    def __init__(self, transformer: Flux2Transformer2DModel) -> None:
        super().__init__()
        self.transformer = transformer
        config = transformer.config
        transformer.pos_embed = RotaryIds(config.axes_dims_rope, (64, SIDE, SIDE, LENGTH), config.rope_theta)
        for block in transformer.transformer_blocks:
            block.attn.processor = JointAttention()
        for block in transformer.single_transformer_blocks:
            block.attn.processor = ParallelAttention()

    def forward(
        self, sample: Tensor, timestep: Tensor, encoder_hidden_states: Tensor, guidance: Tensor | None = None
    ) -> Tensor:
        rows, columns = grid(sample.shape[2], sample.shape[3], sample.device)
        zeros, words = torch.zeros_like(rows), torch.arange(encoder_hidden_states.shape[1], device=sample.device)
        nowhere = torch.zeros_like(words)
        output: Tensor = self.transformer(
            pack(sample, 1),
            encoder_hidden_states=encoder_hidden_states,
            timestep=timestep.squeeze(1) / 1000,
            img_ids=torch.stack([zeros, rows, columns, zeros], -1),
            txt_ids=torch.stack([nowhere, nowhere, nowhere, words], -1),
            guidance=None if guidance is None else guidance.squeeze(1),
            return_dict=False,
        )[0]
        return unpack(output, sample, 1)


class Flux2VaeContract(nn.Module):
    """AutoencoderKLFlux2, whose latents are taken in patches and normalised by its batch norm's statistics."""

    def __init__(self, vae: AutoencoderKLFlux2) -> None:
        super().__init__()
        self.vae = vae
        self.register_buffer("mean", vae.bn.running_mean[None, :, None, None])
        self.register_buffer("deviation", (vae.bn.running_var + vae.config.batch_norm_eps).sqrt()[None, :, None, None])

    def decode(self, latents: Tensor) -> Tensor:
        """See vae.KLContract."""
        batch, channels, height, width = latents.shape
        latents = latents * self.deviation + self.mean
        patches = latents.reshape(batch, channels // PATCH**2, PATCH, PATCH, height, width).permute(0, 1, 4, 2, 5, 3)
        latents = patches.reshape(batch, channels // PATCH**2, PATCH * height, PATCH * width)
        image: Tensor = self.vae.decode(latents, return_dict=False)[0]
        return image

    def encode(self, image: Tensor) -> Tensor:
        """See vae.KLContract."""
        latents = self.vae.encode(image, return_dict=False)[0].mode()
        batch, channels, height, width = latents.shape
        patches = latents.reshape(batch, channels, height // PATCH, PATCH, width // PATCH, PATCH)
        patches = patches.permute(0, 1, 3, 5, 2, 4).reshape(batch, channels * PATCH**2, height // PATCH, width // PATCH)
        normed: Tensor = (patches - self.mean) / self.deviation
        return normed


class Flux2Klein(TransformerCheckpoint):
    """FLUX.2 klein, base and distilled."""

    architecture = "flux2_klein"
    title = "FLUX.2 klein"
    pipelines = ("Flux2KleinPipeline", "Flux2KleinInpaintPipeline")
    classes: ClassVar = {
        "text_encoder": ("Qwen3ForCausalLM", "Qwen3Model"),
        "transformer": ("Flux2Transformer2DModel",),
        "vae": ("AutoencoderKLFlux2",),
    }
    texts = (Text("tokenizer", "Qwen2Tokenizer", LENGTH, {"enable_thinking": False}),)
    patch = 1
    shift_by_size = "size_and_steps"

    def require(self) -> None:
        """See TransformerCheckpoint.require."""
        transformer, text = self.configs["transformer"], self.configs["text_encoder"]
        self.must("transformer", {"patch_size": 1, "out_channels": None, "guidance_embeds": False})
        self.must("vae", {"patch_size": [PATCH, PATCH]})
        self.agree("channels of the latents", transformer.get("in_channels", 128), self.channels)
        width = len(LAYERS) * text["hidden_size"]
        self.agree("width of the prompt", transformer.get("joint_attention_dim", 15360), width)
        if text["num_hidden_layers"] < LAYERS[-1]:
            raise CheckpointError(
                f"{self.inputs.checkpoint}: the text_encoder has {text['num_hidden_layers']} layers, {self.title} takes"
                f" the output of the {LAYERS[-1]}th"
            )

    @property
    def distilled(self) -> bool:
        """Whether it was distilled to few steps without guidance."""
        return bool(self._source.config("index").get("is_distilled", False))

    @property
    def guidance(self) -> str:  # type: ignore[override]  # of each checkpoint
        """See TransformerCheckpoint."""
        return "none" if self.distilled else "classifier_free"

    @property
    def preset(self) -> Preset:  # type: ignore[override]  # of each checkpoint
        """As their model cards say."""
        return Preset("euler", 4, 1.0) if self.distilled else Preset("euler", 50, 4.0)

    @property
    def channels(self) -> int:
        """See TransformerCheckpoint."""
        return int(self.configs["vae"].get("latent_channels", 32)) * PATCH**2

    @property
    def factor(self) -> int:
        """See TransformerCheckpoint."""
        return super().factor * PATCH

    @property
    def vocabularies(self) -> tuple[int, ...]:
        """See TransformerCheckpoint."""
        return (int(self.configs["text_encoder"]["vocab_size"]),)

    @property
    def text_shape(self) -> tuple[int, int]:
        """See TransformerCheckpoint."""
        return LENGTH, len(LAYERS) * int(self.configs["text_encoder"]["hidden_size"])

    def text_encoder(self) -> nn.Module:
        """See TransformerCheckpoint."""
        return LanguageContract(
            self.language_model("text_encoder", "Qwen3Model"), self.pad_ids[0], LAYERS, zeroed=False
        )

    def transformer(self) -> nn.Module:
        """See TransformerCheckpoint."""
        return Flux2Contract(self.diffuser("transformer"))

    def vae(self) -> nn.Module:
        """See TransformerCheckpoint."""
        return Flux2VaeContract(self.diffuser("vae"))
