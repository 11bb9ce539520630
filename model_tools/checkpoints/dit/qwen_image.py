"""Qwen-Image (Wu et al. 2025, arXiv:2508.02324): Qwen2.5-VL's hidden states, a transformer of two streams."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from model_tools.checkpoints.dit.checkpoint import Text, TransformerCheckpoint
from model_tools.checkpoints.dit.tensors import RotaryTable, attend, grid, key_bias, pack, rotate, unpack
from model_tools.checkpoints.dit.text import LanguageContract
from model_tools.checkpoints.layout import Config
from model_tools.checkpoints.presets import Preset

if TYPE_CHECKING:
    from diffusers import AutoencoderKLQwenImage, QwenImageTransformer2DModel

    from model_tools.checkpoints.weights import State

PATCH = 2
SIDE = 256
"""Half of the positions along a side that the graph knows."""
LENGTH = 512
"""Tokens of the prompt, as its pipeline takes them by default."""
DROPPED = 34
"""Tokens of TEMPLATE before the prompt, whose hidden states the pipeline leaves out."""
TEMPLATE = (
    "<|im_start|>system\nDescribe the image by detailing the color, shape, size, texture, quantity, text, spatial"
    " relationships of the objects and background:<|im_end|>\n<|im_start|>user\n{prompt}<|im_end|>\n"
    "<|im_start|>assistant\n"
)
"""Of diffusers' QwenImagePipeline."""
PREFIXES = ("model.language_model.", "language_model.model.", "language_model.", "model.")
"""Of the language model's tensors in checkpoints of Qwen2.5-VL, by the version of transformers that wrote them."""

Waves = tuple[Tensor, Tensor]


class JointAttention:
    """diffusers' QwenDoubleStreamAttnProcessor2_0 without complex numbers; it is given what masks the keys."""

    def __call__(
        self,
        attn: Any,  # noqa: ANN401  # diffusers' Attention
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        encoder_hidden_states_mask: Tensor,
        attention_mask: Tensor | None = None,  # noqa: ARG002  # of every processor's call
        image_rotary_emb: tuple[Waves, Waves] | None = None,
    ) -> tuple[Tensor, Tensor]:
        assert image_rotary_emb is not None  # noqa: S101  # of QwenImageContract
        streams = (
            (encoder_hidden_states, attn.add_q_proj, attn.add_k_proj, attn.add_v_proj),
            (hidden_states, attn.to_q, attn.to_k, attn.to_v),
        )
        norms = ((attn.norm_added_q, attn.norm_added_k), (attn.norm_q, attn.norm_k))
        found = []
        for (x, *layers), (norm_q, norm_k), waves in zip(streams, norms, image_rotary_emb, strict=True):
            query, key, value = (layer(x).unflatten(-1, (attn.heads, -1)) for layer in layers)
            found.append((rotate(norm_q(query), *waves), rotate(norm_k(key), *waves), value))
        query, key, value = (torch.cat(each, 1) for each in zip(*found, strict=True))
        output, length = attend(query, key, value, encoder_hidden_states_mask), encoder_hidden_states.shape[1]
        return attn.to_out[0](output[:, length:]), attn.to_add_out(output[:, :length])


class QwenImageContract(nn.Module):
    """QwenImageTransformer2DModel behind the contract. It masks hidden states that are zeros."""

    def __init__(self, transformer: QwenImageTransformer2DModel) -> None:
        super().__init__()
        self.transformer = transformer
        dims = transformer.config.axes_dims_rope
        self.rotary = RotaryTable(dims, [2 * SIDE + LENGTH] * len(dims), 10000.0, first=-SIDE)
        for block in transformer.transformer_blocks:
            block.attn.processor = JointAttention()

    def forward(self, sample: Tensor, timestep: Tensor, encoder_hidden_states: Tensor) -> Tensor:
        network = self.transformer
        height, width = sample.shape[2] // PATCH, sample.shape[3] // PATCH
        rows, columns = grid(height, width, sample.device)
        middle_row, middle_column = _half(height), _half(width)
        # diffusers counts from the middle: of odd lengths one more position is below 0.
        places = torch.zeros_like(rows), rows - (height - middle_row), columns - (width - middle_column)
        words = torch.arange(encoder_hidden_states.shape[1], device=sample.device)
        words = words + torch.maximum(middle_row, middle_column)
        waves = self.rotary(words, words, words), self.rotary(*places)

        given = (encoder_hidden_states != 0).any(-1)
        x = network.img_in(pack(sample, PATCH))
        text = network.txt_in(network.txt_norm(encoder_hidden_states))
        time = network.time_text_embed(timestep.squeeze(1) / 1000, x)
        kept = torch.cat([given, torch.ones_like(x[..., 0], dtype=torch.bool)], 1)
        bias = key_bias(kept)
        for block in network.transformer_blocks:
            text, x = block(
                hidden_states=x,
                encoder_hidden_states=text,
                encoder_hidden_states_mask=bias,
                temb=time,
                image_rotary_emb=waves,
            )
        return unpack(network.proj_out(network.norm_out(x, time)), sample, PATCH)


def _half(length: Tensor | int) -> Tensor:
    """Half of a length, rounded down. OpenVINO rounds a quotient of integers to the nearest."""
    return torch.floor(torch.as_tensor(length).float() / 2).long()


class QwenVaeContract(nn.Module):
    """AutoencoderKLQwenImage, of one frame, with its latents' mean and deviation by channel."""

    def __init__(self, vae: AutoencoderKLQwenImage) -> None:
        super().__init__()
        self.vae = vae
        for module in vae.modules():
            if isinstance(module, nn.Upsample) and module.mode == "nearest-exact":
                module.mode = "nearest"  # the same for whole factors, and torch's exporter knows it
        self.register_buffer("mean", torch.tensor(vae.config.latents_mean)[None, :, None, None])
        self.register_buffer("deviation", torch.tensor(vae.config.latents_std)[None, :, None, None])

    def decode(self, latents: Tensor) -> Tensor:
        """See vae.KLContract."""
        frames = (latents * self.deviation + self.mean).unsqueeze(2)
        image: Tensor = self.vae.decode(frames, return_dict=False)[0].squeeze(2)
        return image

    def encode(self, image: Tensor) -> Tensor:
        """See vae.KLContract."""
        latents = self.vae.encode(image.unsqueeze(2), return_dict=False)[0].mode().squeeze(2)
        normed: Tensor = (latents - self.mean) / self.deviation
        return normed


class QwenVLContract(LanguageContract):
    """The language model of Qwen2.5-VL, whose rotary embedding has three axes; text moves along all of them."""

    def positions(self, places: Tensor) -> Tensor:
        return places.expand(3, 1, -1)


class QwenImage(TransformerCheckpoint):
    """Qwen-Image."""

    architecture = "qwen_image"
    title = "Qwen-Image"
    pipelines = ("QwenImagePipeline", "QwenImageImg2ImgPipeline", "QwenImageInpaintPipeline")
    classes: ClassVar = {
        "text_encoder": ("Qwen2_5_VLForConditionalGeneration",),
        "transformer": ("QwenImageTransformer2DModel",),
        "vae": ("AutoencoderKLQwenImage",),
    }
    texts = (Text("tokenizer", "Qwen2Tokenizer", DROPPED + LENGTH, template=TEMPLATE),)
    preset = Preset("euler", 50, 4.0)
    native = 1328
    guidance_norm = True
    masked = True

    def require(self) -> None:
        """See TransformerCheckpoint.require."""
        transformer = self.configs["transformer"]
        only = {"patch_size": PATCH, "guidance_embeds": False, "zero_cond_t": False}
        self.must("transformer", only | {"use_additional_t_cond": False, "use_layer3d_rope": False})
        self.must("vae", {"input_channels": 3})
        self.agree("channels of the latents", transformer.get("in_channels", 64), self.channels * PATCH**2)
        self.agree("channels of the velocity", transformer.get("out_channels", 16), self.channels)
        width = self.text_config("text_encoder")["hidden_size"]
        self.agree("width of the prompt", transformer.get("joint_attention_dim", 3584), width)

    def text_config(self, part: str) -> Config:
        """See TransformerCheckpoint; of older files, it lies in the whole model's."""
        config = self.configs[part]
        return dict(config.get("text_config") or config)

    @property
    def channels(self) -> int:
        """See TransformerCheckpoint."""
        return int(self.configs["vae"].get("z_dim", 16))

    @property
    def factor(self) -> int:
        """See TransformerCheckpoint."""
        return int(2 ** len(self.configs["vae"].get("temperal_downsample", (False, True, True))))

    @property
    def vocabularies(self) -> tuple[int, ...]:
        """See TransformerCheckpoint."""
        return (int(self.text_config("text_encoder")["vocab_size"]),)

    @property
    def text_shape(self) -> tuple[int, int]:
        """See TransformerCheckpoint."""
        return LENGTH, int(self.text_config("text_encoder")["hidden_size"])

    def text_encoder(self) -> nn.Module:
        """See TransformerCheckpoint."""
        model = self.language_model("text_encoder", "Qwen2_5_VLTextModel", language_alone)
        return QwenVLContract(model, self.pad_ids[0], [len(model.layers)], dropped=DROPPED)

    def transformer(self) -> nn.Module:
        """See TransformerCheckpoint."""
        return QwenImageContract(self.diffuser("transformer"))

    def vae(self) -> nn.Module:
        """See TransformerCheckpoint."""
        return QwenVaeContract(self.diffuser("vae"))


def language_alone(state: State) -> State:
    """The language model's tensors of Qwen2.5-VL; its picture tower is not read."""
    found = {}
    for name, tensor in state.items():
        prefix = next((each for each in PREFIXES if name.startswith(each)), "")
        if not name.startswith(("visual.", "model.visual.", "lm_head.")):
            found[name.removeprefix(prefix)] = tensor
    return found
