"""Makes a model of Stable Diffusion 1.5's size with random weights: for timing only, its pictures are noise.

    .tools/bin/python -m model_tools.goldens.sd15

writes the same weights twice to .bench/sd15 (git-ignored, 4.2 GB): in diffusers' layout, and as the model repository
with a families.toml that our stack serves. The shapes are those of the published configurations of SD 1.5's UNet
(860 million parameters), AutoencoderKL and CLIP ViT-L/14 text tower. Takes two minutes and 13 GB of memory.
"""

from __future__ import annotations

import gc
import shutil

import torch
from diffusers import AutoencoderKL, DPMSolverMultistepScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from benchmarks.workloads import SD15
from model_tools.export import folders, graphs
from model_tools.goldens import tiny
from model_tools.goldens.cases import TEXT_LENGTH, TOKENIZER

WIDTH = 768
LATENT_SIDES = (64, 64)

FAMILIES = """\
# The model of model_tools/goldens/sd15.py: random weights of Stable Diffusion 1.5's shapes, for benchmarks.

[networks.sd15]
text_encoder = "sd15_text_encoder"
unet = "sd15_unet"
vae_decoder = "sd15_vae_decoder"
tokenizer = "tokenizer.json"
text_length = 77
pad_id = 561
scaling_factor = 0.18215
buckets = [[512, 512]]

[networks.sd15.schedule]
prediction_type = "epsilon"

[families.sd15]
networks = "sd15"
license = "CC0-1.0"
prompt_template = "{prompt}, high quality, highly detailed, 8K"
default_sampler = "dpmpp_2m"
default_steps = 4
default_guidance_scale = 7.5
"""


def text_encoder() -> CLIPTextModel:
    """CLIP ViT-L/14's text tower."""
    config = CLIPTextConfig(
        vocab_size=49408,
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        num_hidden_layers=12,
        num_attention_heads=12,
        max_position_embeddings=TEXT_LENGTH,
    )
    return CLIPTextModel(config)


def autoencoder() -> AutoencoderKL:
    """SD's autoencoder, f8."""
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(128, 256, 512, 512),
        layers_per_block=2,
        latent_channels=4,
        sample_size=512,
        scaling_factor=0.18215,
    )


def build() -> StableDiffusionPipeline:
    """The whole pipeline in float16. Its tokenizer is the tiny model's: which ids there are does not matter to time."""
    torch.manual_seed(0)
    pipeline = StableDiffusionPipeline(
        text_encoder=text_encoder().half(),
        vae=autoencoder().half(),
        # All else of SD 1.5's UNet is UNet2DConditionModel's default.
        unet=UNet2DConditionModel(sample_size=64, cross_attention_dim=WIDTH, attention_head_dim=8).half(),
        tokenizer=tiny.tokenizer(),
        scheduler=DPMSolverMultistepScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            timestep_spacing="trailing",
            steps_offset=1,
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    for network in (pipeline.text_encoder, pipeline.vae, pipeline.unet):
        network.eval().requires_grad_(False)
    return pipeline


def write_repository(pipeline: StableDiffusionPipeline) -> None:
    """Export the networks, from float32 copies of the same weights; one after the other, since they are large."""
    repository = SD15 / "model_repository"
    path = folders.graph_path(repository, "sd15_text_encoder")
    graphs.export_text_encoder(pipeline.text_encoder.float(), path, length=TEXT_LENGTH, fp16_weights=True)
    path = folders.graph_path(repository, "sd15_vae_decoder")
    graphs.export_vae_decoder(graphs.KLDecoder(pipeline.vae.float()), path, fp16_weights=True)
    path = folders.graph_path(repository, "sd15_unet")
    graphs.export_unet(pipeline.unet.float(), path, text_length=TEXT_LENGTH, text_width=WIDTH, fp16_weights=True)


def main() -> None:
    """Write the random Stable Diffusion 1.5: diffusers' folder, and the model repository."""
    torch.set_num_threads(1)
    pipeline = build()
    pipeline.save_pretrained(SD15 / "diffusers")
    write_repository(pipeline)
    del pipeline
    gc.collect()  # before the graphs are read again: together they would need too much memory
    for network, sides in (("text_encoder", (0, 0)), ("unet", LATENT_SIDES), ("vae_decoder", LATENT_SIDES)):
        folders.finish_folder(SD15 / "model_repository", f"sd15_{network}", precision="bf16", sides=sides)
    # Last, so that it covers all that came before it.
    (SD15 / "families").mkdir(exist_ok=True)
    shutil.copy(TOKENIZER, SD15 / "families" / "tokenizer.json")
    (SD15 / "families" / "families.toml").write_text(FAMILIES)


if __name__ == "__main__":
    main()
