"""Makes the tiny model of the goldens: Stable Diffusion 1.x's shape, random weights, a few hundred kilobytes.

    .tools/bin/python -m model_tools.goldens.tiny

writes diffusers' layout to .bench/tiny (git-ignored; generate.py runs StableDiffusionPipeline on it) and, to
tests/golden, what our pipeline needs to serve the same weights: the three Triton model folders and tokenizer.json.
Seeds are fixed: a second run gives the same weights.
"""

from __future__ import annotations

import shutil
from itertools import accumulate

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from model_tools.export.folders import finish_folder, graph_path
from model_tools.export.graphs import KLDecoder, export_text_encoder, export_unet, export_vae_decoder
from model_tools.goldens.cases import GOLDEN, PICTURE_SIZE, TEXT_LENGTH, TINY, TOKENIZER

HIDDEN = 32
WORDS = (
    "red",
    "lighthouse",
    "on",
    "cliff",
    "stormy",
    "sea",
    "blurry",
    "photo",
    "of",
    "the",
    "green",
    "house",
    "forest",
)
"""Words of a token each; any other text is tokens of a byte."""

BOS, EOS = "<|startoftext|>", "<|endoftext|>"


def tokenizer() -> CLIPTokenizer:
    """CLIP's tokenizer over a vocabulary of bytes and WORDS, laid out as CLIP's own: specials last, EOS highest."""
    letters = list(byte_letters())
    merges = list(dict.fromkeys(pair for word in WORDS for pair in word_merges(word)))
    tokens = [*letters, *(letter + "</w>" for letter in letters), *(left + right for left, right in merges), BOS, EOS]
    vocab = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=TEXT_LENGTH)


def byte_letters() -> str:
    """The 256 printable characters that stand for bytes in byte-level BPE (GPT-2), in CLIP's order."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    return "".join(map(chr, printable)) + "".join(chr(256 + i) for i in range(256 - len(printable)))


def word_merges(word: str) -> list[tuple[str, str]]:
    """Merges that build `word` letter by letter from its front."""
    letters = [*word[:-1], word[-1] + "</w>"]
    return list(zip(accumulate(letters[:-1]), letters[1:], strict=True))


def text_encoder(vocabulary: int, layers: int = 2) -> CLIPTextModel:
    """CLIP's text tower, of two layers or more."""
    config = CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=HIDDEN,
        intermediate_size=2 * HIDDEN,
        num_hidden_layers=layers,
        num_attention_heads=4,
        max_position_embeddings=TEXT_LENGTH,
        bos_token_id=vocabulary - 2,
        eos_token_id=vocabulary - 1,
        pad_token_id=vocabulary - 1,
    )
    return CLIPTextModel(config)


def unet() -> UNet2DConditionModel:
    """SD 1.x's UNet of two levels, one with cross-attention; one downsampling, so sides are multiples of 16 pixels."""
    return UNet2DConditionModel(
        in_channels=4,
        out_channels=4,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=(16, 32),
        layers_per_block=1,
        cross_attention_dim=HIDDEN,
        attention_head_dim=2,
        norm_num_groups=8,
    )


def autoencoder() -> AutoencoderKL:
    """SD's autoencoder, f8, one layer a level."""
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8, 8, 16, 16),
        layers_per_block=1,
        norm_num_groups=4,
        latent_channels=4,
        scaling_factor=0.18215,
    )


def build() -> StableDiffusionPipeline:
    """The whole pipeline, random weights from a fixed seed."""
    torch.manual_seed(0)
    tokens = tokenizer()
    pipeline = StableDiffusionPipeline(
        vae=autoencoder(),
        text_encoder=text_encoder(len(tokens)),
        tokenizer=tokens,
        unet=strengthen_prompt(unet()),
        scheduler=DDIMScheduler(steps_offset=1, clip_sample=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    for network in (pipeline.vae, pipeline.text_encoder, pipeline.unet):
        network.eval()
    return pipeline


def strengthen_prompt(network: UNet2DConditionModel, gain: float = 8.0) -> UNet2DConditionModel:
    """Let the prompt matter: as drawn, cross-attention moves the output so little that no golden would notice it."""
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if name.endswith("attn2.to_out.0.weight"):
                weight.mul_(gain)
    return network


def main() -> None:
    """Write the tiny model: diffusers' folder, tokenizer and model repository."""
    pipeline = build()
    pipeline.save_pretrained(TINY)
    shutil.copy(TINY / "tokenizer" / "tokenizer.json", TOKENIZER)
    repository = GOLDEN / "model_repository"
    text, unet, decoder = (f"tiny_{kind}" for kind in ("text_encoder", "unet", "vae_decoder"))
    export_text_encoder(pipeline.text_encoder, graph_path(repository, text), length=TEXT_LENGTH, fp16_weights=False)
    export_unet(
        pipeline.unet,
        graph_path(repository, unet),
        text_length=TEXT_LENGTH,
        text_width=HIDDEN,
        fp16_weights=False,
        multiple=2,
    )
    export_vae_decoder(KLDecoder(pipeline.vae), graph_path(repository, decoder), fp16_weights=False)
    width, height = PICTURE_SIZE
    for name in (text, unet, decoder):
        finish_folder(repository, name, precision="f32", sides=(height // 8, width // 8))


if __name__ == "__main__":
    main()
