"""Z-Image (Cai et al. 2025, arXiv:2511.22699): a single-stream transformer over a picture's patches and its prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from model_tools.checkpoints.dit.checkpoint import Text, TransformerCheckpoint
from model_tools.checkpoints.dit.tensors import RotaryTable, attend, grid, key_bias, rotate
from model_tools.checkpoints.dit.text import LanguageContract
from model_tools.checkpoints.dit.vae import KLContract
from model_tools.checkpoints.presets import Preset

if TYPE_CHECKING:
    from diffusers import ZImageTransformer2DModel
    from diffusers.models.attention_processor import Attention

PATCH = 2
GRAIN = 32
"""Both sequences, of patches and of the prompt, are filled up to multiples of this by learned tokens."""


class RotaryAttention:
    """diffusers' ZSingleStreamAttnProcessor without complex numbers, which no graph has."""

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,  # noqa: ARG002  # of every processor's call
        attention_mask: Tensor | None = None,
        freqs_cis: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        heads = (attn.heads, -1)
        query, key, value = (layer(hidden_states).unflatten(-1, heads) for layer in (attn.to_q, attn.to_k, attn.to_v))
        if attn.norm_q is not None:
            query, key = attn.norm_q(query), attn.norm_k(key)
        if freqs_cis is not None:
            query, key = rotate(query, *freqs_cis), rotate(key, *freqs_cis)
        output: Tensor = attn.to_out[0](attend(query, key, value, attention_mask))
        return output


def round_up(length: Tensor) -> Tensor:
    """Numbers of tokens, float, with the learned ones: int64. OpenVINO rounds a quotient of integers to the nearest."""
    return (torch.ceil(length / GRAIN) * GRAIN).long()


class ZImageContract(nn.Module):
    """ZImageTransformer2DModel behind the contract. It masks hidden states that are zeros."""

    def __init__(self, transformer: ZImageTransformer2DModel) -> None:
        super().__init__()
        self.transformer = transformer
        config = transformer.config
        self.rotary = RotaryTable(config.axes_dims, config.axes_lens, config.rope_theta)
        for layer in (*transformer.noise_refiner, *transformer.context_refiner, *transformer.layers):
            layer.attention.processor = RotaryAttention()

    def forward(self, sample: Tensor, timestep: Tensor, encoder_hidden_states: Tensor) -> Tensor:
        network = self.transformer
        batch, channels, height, width = sample.shape
        rows, columns = height // PATCH, width // PATCH
        time = network.t_embedder((1 - timestep.squeeze(1) / 1000) * network.t_scale).type_as(sample)

        given = (encoder_hidden_states != 0).any(-1)
        text_length = round_up(given.float().sum(-1, keepdim=True))  # [B, 1], with learned tokens
        places = torch.arange(encoder_hidden_states.shape[1], device=sample.device)[None]
        text_kept, zeros = places < text_length, torch.zeros_like(places)
        text_freqs = self.rotary(places + 1, zeros, zeros)
        text = torch.where(given[..., None], network.cap_embedder(encoder_hidden_states), network.cap_pad_token)
        for layer in network.context_refiner:
            text = layer(text, key_bias(text_kept), text_freqs)

        patches = sample.reshape(batch, channels, rows, PATCH, columns, PATCH).permute(0, 2, 4, 3, 5, 1)
        patches = network.all_x_embedder["2-1"](patches.reshape(batch, rows * columns, PATCH * PATCH * channels))
        count = rows * columns
        more = round_up(torch.as_tensor(count).float()) - count
        patches = torch.cat([patches, network.x_pad_token[None].expand(batch, more, -1)], 1)
        row, column = grid(rows, columns, sample.device)
        filled = torch.zeros(more, dtype=row.dtype, device=sample.device)
        row, column = torch.cat([row, filled])[None], torch.cat([column, filled])[None]
        frame = torch.cat([torch.ones_like(row[:, :count]), filled[None]], 1) * (text_length + 1)
        freqs = self.rotary(frame, row.expand_as(frame), column.expand_as(frame))
        for layer in network.noise_refiner:
            patches = layer(patches, None, freqs, time)

        kept = torch.cat([torch.ones_like(frame, dtype=torch.bool), text_kept], 1)
        both = tuple(
            torch.cat([of_patches, of_text.expand(batch, -1, -1)], 1)
            for of_patches, of_text in zip(freqs, text_freqs, strict=True)
        )
        x, bias = torch.cat([patches, text], 1), key_bias(kept)
        for layer in network.layers:
            x = layer(x, bias, both, time)
        x = network.all_final_layer["2-1"](x, c=time)[:, :count]
        x = x.reshape(batch, rows, columns, PATCH, PATCH, channels).permute(0, 5, 1, 3, 2, 4)
        return -x.reshape(batch, channels, height, width)


class ZImage(TransformerCheckpoint):
    """Z-Image and Z-Image-Turbo: Qwen3's hidden states before its last layer, FLUX.1's autoencoder."""

    architecture = "z_image"
    title = "Z-Image"
    pipelines = ("ZImagePipeline", "ZImageImg2ImgPipeline", "ZImageInpaintPipeline")
    classes: ClassVar = {
        "text_encoder": ("Qwen3Model", "Qwen3ForCausalLM"),
        "transformer": ("ZImageTransformer2DModel",),
        "vae": ("AutoencoderKL",),
    }
    texts = (Text("tokenizer", "Qwen2Tokenizer", 512, {"enable_thinking": True}),)
    preset = Preset("euler", 9, 1.0)  # of Z-Image-Turbo's model card, which is distilled; its guidance 0 is 1 here
    masked = True
    has_tiny_vae = True

    def require(self) -> None:
        """See TransformerCheckpoint.require."""
        transformer = self.configs["transformer"]
        self.must("transformer", {"all_patch_size": [PATCH], "all_f_patch_size": [1], "siglip_feat_dim": None})
        self.agree("channels of the latents", transformer.get("in_channels", 16), self.channels)
        self.agree(
            "width of the prompt", transformer.get("cap_feat_dim", 2560), self.configs["text_encoder"]["hidden_size"]
        )

    @property
    def text_shape(self) -> tuple[int, int]:
        """See TransformerCheckpoint.text_shape."""
        return self.texts[0].length, int(self.configs["text_encoder"]["hidden_size"])

    @property
    def vocabularies(self) -> tuple[int, ...]:
        """See TransformerCheckpoint.vocabularies."""
        return (int(self.configs["text_encoder"]["vocab_size"]),)

    def text_encoder(self) -> nn.Module:
        """See TransformerCheckpoint.text_encoder."""
        model = self.language_model("text_encoder", "Qwen3Model")
        return LanguageContract(model, self.pad_ids[0], [len(model.layers) - 1])

    def transformer(self) -> nn.Module:
        """See TransformerCheckpoint.transformer."""
        return ZImageContract(self.diffuser("transformer"))

    def vae(self) -> nn.Module:
        """See TransformerCheckpoint.vae."""
        return KLContract(self.diffuser("vae"))
