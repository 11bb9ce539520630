"""Writes networks as ONNX graphs with the input and output names of the serving contract.

Contract (the batch dimension first, float32 on the wire whatever the weights are stored in):
- text encoder: `input_ids` int32 [B, L] to `hidden_states` [B, L, D]
- unet: `sample` [B, 4, h, w], `timestep` [B, 1], `encoder_hidden_states` [B, L, D] to `out_sample` [B, 4, h, w]
- VAE decoder: `latents` [B, 4, h, w], already divided by the scaling factor, to `image` [B, 3, H, W] in [-1, 1]
- VAE encoder: `image` [B, 3, H, W] in [-1, 1] to `latents` [B, 4, h, w], not yet multiplied by the factor
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from model_tools.onnx_weights import halve_weights

OPSET = 20


class TextContract(nn.Module):
    """A text encoder that takes int64 ids, behind the contract's int32."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, input_ids: Tensor) -> Tensor:
        output = self.encoder(input_ids.long())
        hidden: Tensor = output if isinstance(output, Tensor) else output.last_hidden_state
        return hidden


class UNetContract(nn.Module):
    """A diffusers UNet2DConditionModel with one timestep for each sample."""

    def __init__(self, unet: nn.Module) -> None:
        super().__init__()
        self.unet = unet

    def forward(self, sample: Tensor, timestep: Tensor, encoder_hidden_states: Tensor) -> Tensor:
        output: Tensor = self.unet(sample, timestep.squeeze(1), encoder_hidden_states, return_dict=False)[0]
        return output


class KLDecoder(nn.Module):
    """The decoding half of a diffusers AutoencoderKL."""

    def __init__(self, vae: nn.Module) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, latents: Tensor) -> Tensor:
        image: Tensor = self.vae.decode(latents, return_dict=False)[0]
        return image


class KLEncoder(nn.Module):
    """The encoding half of a diffusers AutoencoderKL: the mean of its posterior."""

    def __init__(self, vae: nn.Module) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, image: Tensor) -> Tensor:
        latents: Tensor = self.vae.encode(image, return_dict=False)[0].mode()
        return latents


@dataclass(frozen=True, slots=True)
class Graph:
    """What an export needs to know: example inputs by name, the outputs' names, and which dimensions vary.

    `dynamic` maps an input's name to {dimension: symbol or expression}, as torch.export takes them.
    """

    inputs: dict[str, Tensor]
    outputs: tuple[str, ...]
    dynamic: dict[str, dict[int, Any]]


def export_graph(module: nn.Module, graph: Graph, path: Path, *, fp16_weights: bool) -> None:
    """Writes the module as an ONNX file, its weights inside, as float16 if asked (computation stays float32).

    The graph is traced at batch 2, since torch.export takes a dimension of 1 as fixed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    program = torch.onnx.export(
        module.eval(),
        tuple(graph.inputs.values()),
        input_names=list(graph.inputs),
        output_names=list(graph.outputs),
        dynamic_shapes=tuple(graph.dynamic[name] for name in graph.inputs),
        opset_version=OPSET,
        dynamo=True,
        optimize=True,
        verbose=False,
    )
    if program is None:
        raise RuntimeError("torch.onnx.export returned no program")
    model = program.model_proto
    if fp16_weights:
        halve_weights(model)
    path.write_bytes(model.SerializeToString())


def export_text_encoder(encoder: nn.Module, path: Path, *, length: int, fp16_weights: bool) -> None:
    """A CLIPTextModel, or any module from int64 ids to hidden states. The length in tokens is fixed."""
    ids = torch.randint(1, 100, (2, length), dtype=torch.int32)
    batch = torch.export.Dim("batch", min=1, max=64)
    graph = Graph({"input_ids": ids}, ("hidden_states",), {"input_ids": {0: batch}})
    export_graph(TextContract(encoder), graph, path, fp16_weights=fp16_weights)


def export_unet(
    unet: nn.Module,
    path: Path,
    *,
    text_length: int,
    text_width: int,
    fp16_weights: bool,
    multiple: int = 8,
    channels: int = 4,
) -> None:
    """A UNet2DConditionModel. `multiple`: what latent sides are multiples of (2 per downsampling).

    `channels`: of its sample; 9 for one that inpaints.
    """
    batch = torch.export.Dim("batch", min=1, max=64)
    rows = multiple * torch.export.Dim("rows", min=1, max=64)
    columns = multiple * torch.export.Dim("columns", min=1, max=64)
    graph = Graph(
        {
            "sample": torch.randn(2, channels, 2 * multiple, 3 * multiple),
            "timestep": torch.tensor([[500.0], [20.0]]),
            "encoder_hidden_states": torch.randn(2, text_length, text_width),
        },
        ("out_sample",),
        {
            "sample": {0: batch, 2: rows, 3: columns},
            "timestep": {0: batch},
            "encoder_hidden_states": {0: batch},
        },
    )
    export_graph(UNetContract(unet), graph, path, fp16_weights=fp16_weights)


def export_vae_decoder(decoder: nn.Module, path: Path, *, fp16_weights: bool) -> None:
    """A module from latents of 4 channels to pictures of 8 times their size (for an AutoencoderKL: KLDecoder)."""
    batch = torch.export.Dim("batch", min=1, max=64)
    rows, columns = torch.export.Dim("rows", min=2, max=512), torch.export.Dim("columns", min=2, max=512)
    graph = Graph({"latents": torch.randn(2, 4, 16, 24)}, ("image",), {"latents": {0: batch, 2: rows, 3: columns}})
    export_graph(decoder, graph, path, fp16_weights=fp16_weights)


def export_vae_encoder(encoder: nn.Module, path: Path, *, fp16_weights: bool) -> None:
    """A module from pictures to latents of 4 channels and an eighth of their size (for an AutoencoderKL: KLEncoder)."""
    batch = torch.export.Dim("batch", min=1, max=64)
    rows, columns = 8 * torch.export.Dim("rows", min=2, max=512), 8 * torch.export.Dim("columns", min=2, max=512)
    graph = Graph({"image": torch.randn(2, 3, 128, 192)}, ("latents",), {"image": {0: batch, 2: rows, 3: columns}})
    export_graph(encoder, graph, path, fp16_weights=fp16_weights)
