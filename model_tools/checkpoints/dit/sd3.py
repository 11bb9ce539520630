"""Stable Diffusion 3 and 3.5 (Esser et al. 2024, arXiv:2403.03206): two CLIP encoders and T5, joint attention."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from model_tools.checkpoints.dit.checkpoint import Text, TransformerCheckpoint
from model_tools.checkpoints.dit.tensors import grid
from model_tools.checkpoints.dit.text import tied
from model_tools.checkpoints.dit.vae import KLContract
from model_tools.checkpoints.presets import Preset

if TYPE_CHECKING:
    from collections.abc import Iterable

    from diffusers import SD3Transformer2DModel
    from diffusers.models.embeddings import PatchEmbed


class CenteredPatches(nn.Module):
    """PatchEmbed with positions cut from the middle of its table, for sizes that are known only when the graph runs."""

    def __init__(self, patches: PatchEmbed) -> None:
        super().__init__()
        self.proj, self.side, self.patch = patches.proj, patches.pos_embed_max_size, patches.patch_size
        self.register_buffer("table", patches.pos_embed[0])

    def forward(self, latent: Tensor) -> Tensor:
        height, width = latent.shape[2] // self.patch, latent.shape[3] // self.patch
        rows, columns = grid(height, width, latent.device)
        places = (rows + self._first(height)) * self.side + columns + self._first(width)
        return self.proj(latent).flatten(2).transpose(1, 2) + self.table[places]

    def _first(self, length: Tensor | int) -> Tensor:
        """Where so many positions in the middle begin. OpenVINO rounds a quotient of integers to the nearest."""
        return torch.floor((self.side - torch.as_tensor(length)).float() / 2).long()


class SD3Contract(nn.Module):
    """SD3Transformer2DModel behind the contract."""

    def __init__(self, transformer: SD3Transformer2DModel) -> None:
        super().__init__()
        self.transformer = transformer
        transformer.pos_embed = CenteredPatches(transformer.pos_embed)

    def forward(self, sample: Tensor, timestep: Tensor, encoder_hidden_states: Tensor, text_embeds: Tensor) -> Tensor:
        output: Tensor = self.transformer(
            sample, encoder_hidden_states, text_embeds, timestep.squeeze(1), return_dict=False
        )[0]
        return output


class SD3Text(nn.Module):
    """Ids of both CLIP encoders and of T5, one after the other.

    To hidden states: CLIP's before their last layers side by side, filled up with zeros to T5's width, then T5's; and
    both pooled outputs, side by side.
    """

    def __init__(self, clips: Iterable[nn.Module], t5: nn.Module, length: int) -> None:
        """`length`: tokens of each CLIP."""
        super().__init__()
        self.clips, self.t5, self.length = nn.ModuleList(clips), t5, length

    def forward(self, input_ids: Tensor) -> tuple[Tensor, Tensor]:
        ids = input_ids.long()
        outputs = [
            clip(ids[:, number * self.length : (number + 1) * self.length], output_hidden_states=True)
            for number, clip in enumerate(self.clips)
        ]
        joined = torch.cat([output.hidden_states[-2] for output in outputs], -1)
        further = self.t5(ids[:, 2 * self.length :])[0]
        joined = functional.pad(joined, (0, self.t5.config.d_model - joined.shape[-1]))
        return torch.cat([joined, further], 1), torch.cat([output.text_embeds for output in outputs], -1)


class StableDiffusion3(TransformerCheckpoint):
    """Stable Diffusion 3 medium, 3.5 medium and large."""

    architecture = "sd3"
    title = "Stable Diffusion 3"
    pipelines = ("StableDiffusion3Pipeline", "StableDiffusion3Img2ImgPipeline", "StableDiffusion3InpaintPipeline")
    classes: ClassVar = {
        "text_encoder": ("CLIPTextModelWithProjection",),
        "text_encoder_2": ("CLIPTextModelWithProjection",),
        "text_encoder_3": ("T5EncoderModel",),
        "transformer": ("SD3Transformer2DModel",),
        "vae": ("AutoencoderKL",),
    }
    preset = Preset("euler", 28, 4.5)
    spacing = "linspace"
    pooled = True
    has_tiny_vae = True

    def require(self) -> None:
        """See TransformerCheckpoint.require."""
        transformer, first, second, t5 = (
            self.configs[part] for part in ("transformer", "text_encoder", "text_encoder_2", "text_encoder_3")
        )
        self.must("transformer", {"patch_size": self.patch})
        self.agree("channels of the latents", transformer.get("in_channels", 16), self.channels)
        self.agree("width of the prompt", transformer.get("joint_attention_dim", 4096), t5["d_model"])
        both = first["projection_dim"] + second["projection_dim"]
        self.agree("width of the pooled prompt", transformer.get("pooled_projection_dim", 2048), both)
        self.agree("tokens of the CLIP encoders", self._clip_length, second.get("max_position_embeddings", 77))

    @property
    def _clip_length(self) -> int:
        return int(self.configs["text_encoder"].get("max_position_embeddings", 77))

    @property
    def native(self) -> int:  # type: ignore[override]  # of each checkpoint
        """See TransformerCheckpoint."""
        return int(self.configs["transformer"].get("sample_size", 128)) * self.factor

    @property
    def texts(self) -> tuple[Text, ...]:  # type: ignore[override]  # of each checkpoint
        """CLIP's and T5's, of the pipeline's lengths."""
        clips = (Text(folder, "CLIPTokenizer", self._clip_length) for folder in ("tokenizer", "tokenizer_2"))
        return (*clips, Text("tokenizer_3", "T5TokenizerFast", 256))

    @property
    def vocabularies(self) -> tuple[int, ...]:
        """See TransformerCheckpoint.vocabularies."""
        parts = ("text_encoder", "text_encoder_2", "text_encoder_3")
        return tuple(int(self.configs[part].get("vocab_size", 49408)) for part in parts)

    @property
    def text_shape(self) -> tuple[int, int]:
        """See TransformerCheckpoint.text_shape."""
        return self._clip_length + self.texts[2].length, int(self.configs["text_encoder_3"]["d_model"])

    @property
    def pooled_width(self) -> int:
        """See TransformerCheckpoint.pooled_width."""
        return sum(int(self.configs[part]["projection_dim"]) for part in ("text_encoder", "text_encoder_2"))

    def text_encoder(self) -> nn.Module:
        """See TransformerCheckpoint.text_encoder."""
        parts = ("text_encoder", "text_encoder_2")
        clips = [self.language_model(part, "CLIPTextModelWithProjection") for part in parts]
        t5 = self.language_model("text_encoder_3", "T5EncoderModel", tied)
        return SD3Text(clips, t5, self._clip_length)

    def transformer(self) -> nn.Module:
        """See TransformerCheckpoint.transformer."""
        return SD3Contract(self.diffuser("transformer"))

    def vae(self) -> nn.Module:
        """See TransformerCheckpoint.vae."""
        return KLContract(self.diffuser("vae"))
