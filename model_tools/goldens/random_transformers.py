"""Small checkpoints of diffusion transformers with random weights, as random_checkpoints.py has them of UNets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import diffusers
import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler
from torch import nn
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Tokenizer,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3Model,
    T5Config,
    T5EncoderModel,
    T5TokenizerFast,
)

from model_tools.goldens import tiny
from model_tools.goldens.cases import TEXT_LENGTH
from model_tools.goldens.random_checkpoints import CARD

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

CHAT = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
    "{% if enable_thinking is defined and enable_thinking is false %}{{ '<think>\n\n</think>\n\n' }}{% endif %}"
    "{% endif %}"
)
"""As Qwen3's own, for one turn without tools."""
WIDTH = 32
"""Of language models' hidden states."""
LATENTS = 16
"""Channels."""


def qwen_tokenizer() -> Qwen2Tokenizer:
    """Qwen's tokenizer over a vocabulary of bytes and tiny.WORDS, with its special tokens."""
    merges = list(dict.fromkeys(pair for word in tiny.WORDS for pair in word_merges(word)))
    tokens = [*tiny.byte_letters(), *(left + right for left, right in merges), "<|endoftext|>"]
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    tokenizer = Qwen2Tokenizer(vocab=vocabulary, merges=merges)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokenizer.chat_template = CHAT
    return tokenizer


def word_merges(word: str) -> list[tuple[str, str]]:
    """Merges that build a word behind a space, letter by letter; Qwen's have no mark at a word's end."""
    whole = "Ġ" + word
    return [(whole[:end], whole[end]) for end in range(1, len(whole))]


def qwen3(words: int, layers: int = 3, kind: type[nn.Module] = Qwen3Model) -> nn.Module:
    """Qwen3: grouped queries, and norms of queries and keys."""
    config = Qwen3Config(
        vocab_size=words,
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=1024,
    )
    return kind(config)


def clip(words: int, kind: type[nn.Module] = CLIPTextModel, **more: object) -> nn.Module:
    """CLIP's text tower."""
    settings = {
        "vocab_size": words,
        "hidden_size": tiny.HIDDEN,
        "intermediate_size": 2 * tiny.HIDDEN,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "max_position_embeddings": TEXT_LENGTH,
        "projection_dim": tiny.HIDDEN,
        "bos_token_id": words - 2,
        "eos_token_id": words - 1,
        "pad_token_id": words - 1,
    }
    return kind(CLIPTextConfig(**settings | more))


def t5_tokenizer() -> T5TokenizerFast:
    """T5's tokenizer over tiny.WORDS and letters."""
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    pieces += [(f"▁{word}", -3.0) for word in tiny.WORDS]
    pieces += [(letter, -6.0) for letter in "abcdefghijklmnopqrstuvwxyz,."]
    return T5TokenizerFast(vocab=pieces, extra_ids=0)


def t5(words: int, width: int = 40) -> T5EncoderModel:
    """T5 version 1.1's encoder."""
    config = T5Config(
        vocab_size=words,
        d_model=width,
        d_kv=8,
        d_ff=2 * width,
        num_layers=2,
        num_heads=4,
        feed_forward_proj="gated-gelu",
        is_encoder_decoder=False,
        use_cache=False,
    )
    return T5EncoderModel(config)


def flux() -> diffusers.FluxPipeline:
    """FLUX.1-schnell's parts."""
    tokens, tokens_2 = tiny.tokenizer(), t5_tokenizer()
    encoder_2 = t5(len(tokens_2))
    transformer = diffusers.FluxTransformer2DModel(
        in_channels=4 * LATENTS,
        num_layers=1,
        num_single_layers=2,
        attention_head_dim=16,
        num_attention_heads=3,
        joint_attention_dim=encoder_2.config.d_model,
        pooled_projection_dim=tiny.HIDDEN,
        axes_dims_rope=(4, 6, 6),
    )
    return diffusers.FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=autoencoder(),
        text_encoder=clip(len(tokens)),
        tokenizer=tokens,
        text_encoder_2=stir(encoder_2),
        tokenizer_2=tokens_2,
        transformer=stir(transformer),
    )


def sd3() -> diffusers.StableDiffusion3Pipeline:
    """Stable Diffusion 3.5 medium's parts: some layers attend to the picture alone, too."""
    tokens, tokens_2, tokens_3 = tiny.tokenizer(), tiny.tokenizer(), t5_tokenizer()
    tokens_2.pad_token = "!"  # noqa: S105  # of text
    encoder_3 = t5(len(tokens_3), width=96)
    transformer = diffusers.SD3Transformer2DModel(
        sample_size=16,
        in_channels=LATENTS,
        num_layers=3,
        attention_head_dim=16,
        num_attention_heads=3,
        joint_attention_dim=encoder_3.config.d_model,
        caption_projection_dim=48,
        pooled_projection_dim=tiny.HIDDEN + 24,
        pos_embed_max_size=24,
        dual_attention_layers=(0,),
        qk_norm="rms_norm",
    )
    return diffusers.StableDiffusion3Pipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=autoencoder(scaling_factor=1.5305, shift_factor=0.0609),
        text_encoder=clip(len(tokens), CLIPTextModelWithProjection),
        tokenizer=tokens,
        text_encoder_2=clip(
            len(tokens), CLIPTextModelWithProjection, hidden_size=40, projection_dim=24, hidden_act="gelu"
        ),
        tokenizer_2=tokens_2,
        text_encoder_3=stir(encoder_3),
        tokenizer_3=tokens_3,
        transformer=stir(transformer),
    )


def qwen_image() -> diffusers.QwenImagePipeline:
    """Qwen-Image's parts; of Qwen2.5-VL the picture tower is as small as can be."""
    tokens = qwen_tokenizer()
    text = {
        "vocab_size": len(tokens),
        "hidden_size": WIDTH,
        "intermediate_size": 2 * WIDTH,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 1024,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1000000.0, "mrope_section": [1, 1, 2]},
    }
    vision = {"depth": 1, "hidden_size": 16, "num_heads": 2, "intermediate_size": 16, "out_hidden_size": WIDTH}
    transformer = diffusers.QwenImageTransformer2DModel(
        in_channels=4 * LATENTS,
        out_channels=LATENTS,
        num_layers=2,
        attention_head_dim=16,
        num_attention_heads=3,
        joint_attention_dim=WIDTH,
        axes_dims_rope=(4, 6, 6),
    )
    shifts = {"base_shift": 0.5, "max_shift": 0.9, "max_image_seq_len": 8192, "shift_terminal": 0.02}
    mean, deviation = torch.randn(LATENTS), 1 + torch.rand(LATENTS)
    return diffusers.QwenImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, **shifts),
        vae=diffusers.AutoencoderKLQwenImage(
            base_dim=8,
            z_dim=LATENTS,
            num_res_blocks=1,
            latents_mean=mean.tolist(),
            latents_std=deviation.tolist(),
        ),
        text_encoder=stir(Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(text_config=text, vision_config=vision))),
        tokenizer=tokens,
        transformer=stir(transformer),
    )


def flux2_klein(*, distilled: bool = True) -> diffusers.Flux2KleinPipeline:
    """FLUX.2 klein's parts: a language model of as many layers as it takes."""
    tokens = qwen_tokenizer()
    transformer = diffusers.Flux2Transformer2DModel(
        in_channels=32,
        num_layers=1,
        num_single_layers=2,
        attention_head_dim=16,
        num_attention_heads=3,
        joint_attention_dim=3 * WIDTH,
        axes_dims_rope=(4, 4, 4, 4),
        guidance_embeds=False,
    )
    vae = diffusers.AutoencoderKLFlux2(
        block_out_channels=(8, 8, 16, 16), layers_per_block=1, norm_num_groups=4, latent_channels=8, sample_size=128
    )
    with torch.no_grad():
        vae.bn.running_mean.copy_(torch.randn(32))
        vae.bn.running_var.copy_(1 + torch.rand(32))
    return diffusers.Flux2KleinPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, base_shift=0.5, max_shift=1.15),
        vae=vae,
        text_encoder=stir(qwen3(len(tokens), layers=28, kind=Qwen3ForCausalLM)),
        tokenizer=tokens,
        transformer=stir(transformer),
        is_distilled=distilled,
    )


def autoencoder(**more: object) -> AutoencoderKL:
    """FLUX.1's autoencoder, of fewer channels a level: 16 channels of latents, shifted, no convolutions about them."""
    settings = {
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "block_out_channels": (8, 8, 16, 16),
        "layers_per_block": 1,
        "norm_num_groups": 4,
        "latent_channels": LATENTS,
        "scaling_factor": 0.3611,
        "shift_factor": 0.1159,
        "use_quant_conv": False,
        "use_post_quant_conv": False,
        "sample_size": 128,
    }
    return AutoencoderKL(**settings | more)


def stir(network: nn.Module, gain: float = 1.0) -> nn.Module:
    """Draw what initialisation leaves at zero or one: modulations, norms, tokens; so that an error in them shows."""
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim < 2 or not parameter.any():  # biases, scales
                parameter.add_(0.3 * torch.randn_like(parameter))
            else:
                parameter.copy_(torch.randn_like(parameter) * gain * parameter[0].numel() ** -0.5)
    return network


def z_image() -> diffusers.ZImagePipeline:
    """Z-Image-Turbo's parts."""
    tokens = qwen_tokenizer()
    transformer = diffusers.ZImageTransformer2DModel(
        in_channels=LATENTS,
        dim=48,
        n_layers=2,
        n_refiner_layers=1,
        n_heads=3,
        n_kv_heads=3,
        cap_feat_dim=WIDTH,
        axes_dims=[4, 6, 6],
        axes_lens=[1024, 64, 64],
    )
    return diffusers.ZImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=autoencoder(),
        text_encoder=stir(qwen3(len(tokens))),
        tokenizer=tokens,
        transformer=stir(transformer),
    )


CHECKPOINTS: Mapping[str, Callable[[Path], None]] = {
    "z_image": lambda folder: z_image().save_pretrained(folder),
    "flux": lambda folder: flux().save_pretrained(folder),
    "sd3": lambda folder: sd3().save_pretrained(folder),
    "qwen_image": lambda folder: qwen_image().save_pretrained(folder),
    "flux2_klein": lambda folder: flux2_klein().save_pretrained(folder),
    "flux2_klein_base": lambda folder: flux2_klein(distilled=False).save_pretrained(folder),
}
"""Folders, and what draws and saves each."""


def make(folder: Path, name: str) -> Path:
    """Draw one of CHECKPOINTS, and save it in `folder`, with a model card that says its licence.

    Returns:
        Its folder: `folder`/`name`.
    """
    path = folder / name
    path.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(1 + list(CHECKPOINTS).index(name))
    CHECKPOINTS[name](path)
    (path / "README.md").write_text(CARD, "utf-8")
    return path
