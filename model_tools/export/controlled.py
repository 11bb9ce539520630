"""UNet, ControlNet and IP-Adapter in one graph: what steers a row comes as tensors of the batch.

diffusers keeps the scales of both as Python numbers of the pipeline, one for all rows. Here they are inputs, one for
each row, so that requests of every task share batches: a row whose scales are 0 is the plain UNet's, bit for bit.

    unet._load_ip_adapter_weights(state)  # diffusers' own loading of an IP-Adapter; without it there is no image prompt
    export_controlled_unet(ControlledUnet(unet, controlnet), path, text_length=77, text_width=768, tokens=4, ...)

Written for Stable Diffusion 1.x and 2.x, SDXL, and for what has their attention: queries of (B, T, C), no norm inside.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from model_tools.export.contracts import guidance_embedding
from model_tools.export.graphs import BATCH, PICTURE, Graph, export_graph

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from diffusers import ControlNetModel, UNet2DConditionModel
    from diffusers.models.attention_processor import Attention

INPUTS = (
    "sample",
    "timestep",
    "encoder_hidden_states",
    "control_image",
    "control_scale",
    "image_embeds",
    "image_scale",
)
CONTROL = {0: "batch", 2: "pixel rows", 3: "pixel columns"}
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


class ImagePromptAttention(nn.Module):
    """Attention to the prompt and, apart from it, to an image prompt (Ye et al. 2023, IP-Adapter, formula 5).

    Z = attention(Q, K, V) + scale · attention(Q, K', V'), with a scale for each row. Self-attention has no layers for
    K' and V', and is plain attention.
    """

    def __init__(self, to_k_ip: nn.Module | None = None, to_v_ip: nn.Module | None = None) -> None:
        super().__init__()
        self.to_k_ip, self.to_v_ip = to_k_ip, to_v_ip

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,  # noqa: ARG002  # diffusers gives it
        image_prompt: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """(B, T, C) to (B, T, C), for an image prompt of tokens (B, N, D) and scales (B, 1).

        diffusers hands on what it finds in this signature.
        """
        norms = (attn.group_norm, attn.spatial_norm, attn.norm_cross, attn.norm_q, attn.norm_k)
        if attention_mask is not None or attn.residual_connection or any(norm is not None for norm in norms):
            raise NotImplementedError("attention with a mask, a norm or a residual of its own")
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query = attn.to_q(hidden_states)
        output = attend(query, attn.to_k(context), attn.to_v(context), attn.heads)
        if image_prompt is not None and self.to_k_ip is not None and self.to_v_ip is not None:
            tokens, scale = image_prompt
            shown = attend(query, self.to_k_ip(tokens), self.to_v_ip(tokens), attn.heads)
            output = output + scale[:, :, None] * shown
        projected: Tensor = attn.to_out[0](output)
        return projected / attn.rescale_output_factor


def attend(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    """Scaled dot-product attention over heads: (B, T, C), (B, S, C), (B, S, C) to (B, T, C)."""
    query, key, value = (tensor.unflatten(2, (heads, -1)).transpose(1, 2) for tensor in (query, key, value))
    return functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)


class ControlledUnet(nn.Module):
    """A UNet2DConditionModel, ControlNets, and the UNet's IP-Adapter layers, if it has any, as one network."""

    def __init__(self, unet: UNet2DConditionModel, *controlnets: ControlNetModel) -> None:
        """`unet` is not changed, though its weights are shared.

        Its IP-Adapter's projection belongs to the image encoder (ImageTokens).
        """
        super().__init__()
        weights = (*unet.parameters(), *unet.buffers())
        self.unet = copy.deepcopy(unet, {id(tensor): tensor for tensor in weights})
        self.controlnets = nn.ModuleList(controlnets)
        self.embedding = guidance_embedding(unet)
        processors = {name: steered(processor) for name, processor in self.unet.attn_processors.items()}
        self.unet.set_attn_processor(processors)
        # The UNet would expect the tokens among the timestep's conditions and project them: ours are projected.
        self.unet.encoder_hid_proj = None
        self.unet.register_to_config(encoder_hid_dim_type=None)

    def forward(
        self,
        sample: Tensor,
        timestep: Tensor,
        encoder_hidden_states: Tensor,
        control_image: Tensor | None = None,
        control_scale: Tensor | None = None,
        image_embeds: Tensor | None = None,
        image_scale: Tensor | None = None,
        text_embeds: Tensor | None = None,
        time_ids: Tensor | None = None,
        guidance: Tensor | None = None,
    ) -> Tensor:
        """See orchestrator/models/contracts.py, ControlledUnet.

        Control pictures are (B, 3·K, H, W) for K ControlNets, their scales (B, K); image scales (B, 1).
        """
        shared: dict[str, Any] = {"encoder_hidden_states": encoder_hidden_states, "return_dict": False}
        if text_embeds is not None:
            shared["added_cond_kwargs"] = {"text_embeds": text_embeds, "time_ids": time_ids}
        steering: dict[str, Any] = {}
        if self.embedding is not None and guidance is not None:
            steering["timestep_cond"] = self.embedding(guidance).to(sample.dtype)
        if control_image is not None and control_scale is not None:
            down, middle = self._control(sample, timestep.squeeze(1), control_image, control_scale, shared)
            steering |= {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}
        if image_embeds is not None:
            steering["cross_attention_kwargs"] = {"image_prompt": (image_embeds, image_scale)}
        output: Tensor = self.unet(sample, timestep.squeeze(1), **shared, **steering)[0]
        return output

    def _control(
        self, sample: Tensor, time: Tensor, pictures: Tensor, scales: Tensor, shared: dict[str, Any]
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        """What all ControlNets add to the UNet's skips and to its middle, summed as diffusers' MultiControlNetModel."""
        totals: list[Tensor] = []
        for number, network in enumerate(self.controlnets):
            down, middle = network(
                sample,
                time,
                controlnet_cond=pictures[:, 3 * number : 3 * number + 3],
                conditioning_scale=scales[:, number, None, None, None],
                **shared,
            )
            added = [*down, middle]
            totals = [total + each for total, each in zip(totals, added, strict=True)] if totals else added
        return tuple(totals[:-1]), totals[-1]


def steered(processor: object) -> ImagePromptAttention:
    """Ours for one of diffusers' attention processors, with the layers of its IP-Adapter, if it has one.

    Raises:
        ValueError: it has several IP-Adapters.
    """
    keys, values = getattr(processor, "to_k_ip", None), getattr(processor, "to_v_ip", None)
    if keys is None or values is None:
        return ImagePromptAttention()
    if len(keys) != 1:
        raise ValueError(f"{len(keys)} IP-Adapters in one UNet; the contract has tokens of one")
    return ImagePromptAttention(keys[0], values[0])


class ImageTokens(nn.Module):
    """An IP-Adapter's image encoder: CLIP's picture tower, and the projection to tokens for the UNet.

    The tokens are of the picture's embedding, or, with IP-Adapter Plus, of all hidden states before the last layer. For
    the unconditional row they are those of an embedding of zeros, and with Plus those of a picture of zeros (the mean
    colour), as diffusers' encode_image has it.
    """

    def __init__(self, encoder: nn.Module, projection: nn.Module) -> None:
        """`encoder`: a CLIPVisionModelWithProjection; `projection`: diffusers' of the IP-Adapter."""
        super().__init__()
        self.encoder, self.projection = encoder, projection
        self.register_buffer("mean", torch.tensor(CLIP_MEAN)[:, None, None])
        self.register_buffer("std", torch.tensor(CLIP_STD)[:, None, None])
        self.of_layers = type(projection).__name__ != "ImageProjection"
        blank = None
        if self.of_layers:
            side = encoder.config.image_size
            with torch.no_grad():
                blank = projection(self._features(torch.zeros(1, 3, side, side)))
        self.register_buffer("blank", blank)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """RGB in [-1, 1] to tokens of the picture, and of none; both (B, N, D)."""
        features = self._features((image * 0.5 + 0.5 - self.mean) / self.std)
        if self.blank is None:
            return self.projection(features), self.projection(torch.zeros_like(features))
        return self.projection(features), self.blank.expand(image.shape[0], -1, -1)

    def _features(self, picture: Tensor) -> Tensor:
        if self.of_layers:
            layers: Tensor = self.encoder(picture, output_hidden_states=True).hidden_states[-2]
            return layers
        embeds: Tensor = self.encoder(picture).image_embeds
        return embeds


def export_controlled_unet(
    network: ControlledUnet,
    path: Path,
    *,
    text_length: int,
    text_width: int,
    tokens: int,
    fp16_weights: bool,
    multiple: int = 8,
) -> None:
    """Write the fused network as ONNX. `tokens`: N of the image prompt; the rest as export.export_unet has it."""
    height, width = 2 * multiple, 3 * multiple
    examples = (
        torch.randn(2, 4, height, width),
        torch.tensor([[500.0], [20.0]]),
        torch.randn(2, text_length, text_width),
        torch.rand(2, 3, 8 * height, 8 * width),
        torch.tensor([[1.0], [0.5]]),
        torch.randn(2, tokens, text_width),
        torch.tensor([[1.0], [0.5]]),
    )
    free = dict.fromkeys(INPUTS, BATCH) | {"sample": PICTURE, "control_image": CONTROL}
    graph = Graph(dict(zip(INPUTS, examples, strict=True)), ("out_sample",), free)
    export_graph(network, graph, path, fp16_weights=fp16_weights)


def export_image_encoder(network: ImageTokens, path: Path, *, side: int, fp16_weights: bool) -> None:
    """Write the image encoder as ONNX, for pictures of side x side pixels."""
    outputs = ("image_embeds", "negative_image_embeds")
    graph = Graph({"image": torch.randn(2, 3, side, side)}, outputs, {"image": BATCH})
    export_graph(network, graph, path, fp16_weights=fp16_weights)
