"""Makes the small models of the adapters' goldens: ControlNet, IP-Adapter and inpainting, random weights.

    .tools/bin/python -m model_tools.goldens.tiny
    .tools/bin/python -m model_tools.goldens.tiny_adapters

writes model folders to tests/golden/adapters/model_repository. The UNets are smaller than tiny.py's; text encoder,
autoencoder and tokenizer are that one's. Seeds are fixed: a second run gives the same weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from diffusers import AutoencoderKL, ControlNetModel, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.models.embeddings import ImageProjection
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from model_tools.export.controlled import ControlledUnet, ImageTokens, export_controlled_unet, export_image_encoder
from model_tools.export.folders import finish_folder, graph_path
from model_tools.export.graphs import KLEncoder, export_unet, export_vae_encoder
from model_tools.goldens.adapter_cases import ADAPTERS, IMAGE_SIDE, TOKENS
from model_tools.goldens.cases import PICTURE_SIZE, TEXT_LENGTH, TINY
from model_tools.goldens.tiny import HIDDEN, strengthen_prompt

CHANNELS = (8, 16)
EMBEDDING = 16


@dataclass(frozen=True)
class Adapters:
    """All that the goldens' pipelines are built of.

    Attributes:
        base: the tiny model's pipeline: text encoder, tokenizer, autoencoder.
        unet: the plain one.
        prompted: the same weights with IP-Adapter layers.
        inpainting: another, of 9 channels.
        controlnet: for `unet`.
        image_encoder: CLIP's picture tower; the IP-Adapter's projection is prompted.encoder_hid_proj.
    """

    base: StableDiffusionPipeline
    unet: UNet2DConditionModel
    prompted: UNet2DConditionModel
    inpainting: UNet2DConditionModel
    controlnet: ControlNetModel
    image_encoder: CLIPVisionModelWithProjection

    @property
    def vae(self) -> AutoencoderKL:
        """The tiny model's autoencoder."""
        return self.base.vae


def unet(channels: int) -> UNet2DConditionModel:
    """The shape of tiny.unet, with half of its width."""
    network = UNet2DConditionModel(
        sample_size=64,  # diffusers' pipelines compare it, and nothing more
        in_channels=channels,
        out_channels=4,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=CHANNELS,
        layers_per_block=1,
        cross_attention_dim=HIDDEN,
        attention_head_dim=2,
        norm_num_groups=4,
    )
    return strengthen_prompt(network)


def controlnet(network: UNet2DConditionModel) -> ControlNetModel:
    """A ControlNet of that UNet, its zero convolutions drawn at random: zeros would steer nothing.

    The convolutions that the control picture passes are strengthened, without biases: as drawn, its lines would drown.
    """
    control = ControlNetModel.from_unet(network, conditioning_embedding_out_channels=(4, 8, 8, 16))
    for layer in (*control.controlnet_down_blocks, control.controlnet_mid_block):
        nn.init.normal_(layer.weight, std=0.3)
    embedding = control.controlnet_cond_embedding
    nn.init.normal_(embedding.conv_out.weight, std=0.5)
    with torch.no_grad():
        for layer in (embedding.conv_in, *embedding.blocks, embedding.conv_out):
            layer.weight.mul_(3)
            layer.bias.zero_()
    return control


def image_encoder() -> CLIPVisionModelWithProjection:
    """CLIP's picture tower, two layers over 8 x 8 patches."""
    config = CLIPVisionConfig(
        hidden_size=EMBEDDING,
        intermediate_size=2 * EMBEDDING,
        projection_dim=EMBEDDING,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=IMAGE_SIDE,
        patch_size=8,
    )
    return CLIPVisionModelWithProjection(config)


def ip_adapter(network: UNet2DConditionModel) -> dict[str, dict[str, Tensor]]:
    """An IP-Adapter's file for that UNet, as its authors lay it out: numbered cross-attentions, and the projection."""
    attentions = [name for name in network.attn_processors if name.endswith("attn2.processor")]
    layers: dict[str, Tensor] = {}
    for number, name in enumerate(network.attn_processors):
        if name in attentions:
            width = network.get_submodule(name.removesuffix(".processor")).to_k.weight.shape[0]
            for kind in ("k", "v"):
                layers[f"{number}.to_{kind}_ip.weight"] = torch.randn(width, HIDDEN) * 2 * HIDDEN**-0.5
    projection = ImageProjection(EMBEDDING, HIDDEN, TOKENS).state_dict()
    renamed = {name.replace("image_embeds", "proj"): tensor for name, tensor in projection.items()}
    return {"image_proj": renamed, "ip_adapter": layers}


def build() -> Adapters:
    """All of it; random weights from a fixed seed, but for the tiny model's, which are read from its folder."""
    base = StableDiffusionPipeline.from_pretrained(TINY)
    torch.manual_seed(1)
    plain, inpainting = unet(4), unet(9)
    adapters = Adapters(base, plain, unet(4), inpainting, controlnet(plain), image_encoder())
    adapters.prompted.load_state_dict(plain.state_dict())
    adapters.prompted._load_ip_adapter_weights(ip_adapter(plain))  # noqa: SLF001  # diffusers' pipelines call it so
    for network in (plain, adapters.prompted, inpainting, adapters.controlnet, adapters.image_encoder, base.vae):
        network.eval()
    return adapters


def main() -> None:
    """Write the model repository of the tiny adapters."""
    adapters = build()
    names = "vae_encoder", "unet", "inpaint_unet", "controlled_unet", "image_encoder"
    paths = {name: graph_path(ADAPTERS, f"adapters_{name}") for name in names}
    sizes = {"text_length": TEXT_LENGTH, "text_width": HIDDEN, "multiple": 2}
    export_vae_encoder(KLEncoder(adapters.vae), paths["vae_encoder"], fp16_weights=False)
    export_unet(adapters.unet, paths["unet"], fp16_weights=False, **sizes)
    export_unet(adapters.inpainting, paths["inpaint_unet"], fp16_weights=False, channels=9, **sizes)
    steered = ControlledUnet(adapters.prompted, adapters.controlnet)
    export_controlled_unet(steered, paths["controlled_unet"], tokens=TOKENS, fp16_weights=False, **sizes)
    (projection,) = adapters.prompted.encoder_hid_proj.image_projection_layers
    tokens = ImageTokens(adapters.image_encoder, projection)
    export_image_encoder(tokens, paths["image_encoder"], side=IMAGE_SIDE, fp16_weights=False)
    width, height = PICTURE_SIZE
    for name in names:
        sides = (height, width) if name == "vae_encoder" else (height // 8, width // 8)
        finish_folder(ADAPTERS, f"adapters_{name}", precision="f32", sides=sides)


if __name__ == "__main__":
    main()
