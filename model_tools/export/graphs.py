"""Writes networks as ONNX graphs with the input and output names of the serving contract.

Contract (the batch dimension first, float32 on the wire whatever the weights are stored in):
- text encoder: `input_ids` int32 [B, L] to `hidden_states` [B, L, D]
- unet: `sample` [B, C, h, w], `timestep` [B, 1], `encoder_hidden_states` [B, L, D] to `out_sample` [B, 4, h, w]
- VAE decoder: `latents` [B, 4, h, w], already divided by the scaling factor, to `image` [B, 3, H, W] in [-1, 1]
- VAE encoder: `image` [B, 3, H, W] in [-1, 1] to `latents` [B, 4, h, w], not yet multiplied by the factor
"""

import io
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir
import torch
from onnxscript import version_converter
from torch import Tensor, nn

from model_tools.export.contracts import guidance_embedding
from model_tools.export.onnx_weights import give_weights, halve_weights, save_graph, simplify

OPSET = 20
OPSET_OF_BFLOAT16 = 22
"""The first in which all operators take it."""
BATCH: Mapping[int, str] = {0: "batch"}
PICTURE: Mapping[int, str] = {0: "batch", 2: "rows", 3: "columns"}
"""Free dimensions of inputs without and with sides."""
PROMPT: Mapping[int, str] = {0: "batch", 1: "tokens"}
"""Of hidden states: prompts are joined of chunks."""


class ExportError(ValueError):
    """A network that cannot become a graph, or became a wrong one; the message is for who asked for it."""


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
    """A diffusers UNet2DConditionModel with a timestep for each sample, and what is added to the timestep.

    For SDXL that is the pooled prompt and sizes, for a latent consistency model the guidance scale.
    """

    def __init__(self, unet: nn.Module) -> None:
        super().__init__()
        self.unet = unet
        self.embedding = guidance_embedding(unet)

    def forward(
        self,
        sample: Tensor,
        timestep: Tensor,
        encoder_hidden_states: Tensor,
        text_embeds: Tensor | None = None,
        time_ids: Tensor | None = None,
        guidance: Tensor | None = None,
    ) -> Tensor:
        more = {} if text_embeds is None else {"added_cond_kwargs": {"text_embeds": text_embeds, "time_ids": time_ids}}
        if self.embedding is not None and guidance is not None:
            more["timestep_cond"] = self.embedding(guidance).to(sample.dtype)
        output: Tensor = self.unet(sample, timestep.squeeze(1), encoder_hidden_states, **more, return_dict=False)[0]
        return output


class KLDecoder(nn.Module):
    """The decoding half of a diffusers AutoencoderKL."""

    def __init__(self, vae: nn.Module) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, latents: Tensor) -> Tensor:
        image: Tensor = self.vae.decode(latents, return_dict=False)[0]
        return image


class TinyDecoder(nn.Module):
    """The decoding half of a diffusers AutoencoderTiny, which takes latents as the denoiser has them."""

    def __init__(self, vae: nn.Module, scale: float = 1.0, shift: float = 0.0) -> None:
        """`scale`, `shift`: of the VAE in whose place it decodes; the graph is given latents divided and shifted."""
        super().__init__()
        self.decoder, self.scale, self.shift = vae.decoder, scale, shift

    def forward(self, latents: Tensor) -> Tensor:
        image: Tensor = self.decoder((latents - self.shift) * self.scale)
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

    `free` maps an input's name to {dimension: what the graph calls it}, a text or one of torch.export.Dim.
    """

    inputs: dict[str, Tensor]
    outputs: tuple[str, ...]
    free: Mapping[str, Mapping[int, Any]]


def export_graph(module: nn.Module, graph: Graph, path: Path, *, fp16_weights: bool) -> None:
    """Writes the module as an ONNX file, its weights inside, as float16 if asked (computation stays float32)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    model = trace(module, graph)
    if fp16_weights:
        halve_weights(model)
    save_graph(model, path)


def trace(module: nn.Module, graph: Graph) -> ir.Model:
    """The module as an ONNX graph, whose weights are the module's own tensors: no copies.

    By torch's older exporter, which records one run, at batch 2. Its newer one reasons about every free size: a UNet of
    three levels with a ControlNet takes it 60 s where this takes 4 s, and SDXL's minutes. What a recording cannot see,
    a decision by a size or a value, shows when the graph is run on other sizes and batches to verify it.

    Raises:
        ExportError: torch finds something in it that no graph can hold.
    """
    file = io.BytesIO()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch and of its exporter, about themselves
        try:
            torch.onnx.export(
                module.eval(),
                tuple(graph.inputs.values()),
                file,
                input_names=list(graph.inputs),
                output_names=list(graph.outputs),
                dynamic_axes={
                    name: {axis: getattr(size, "__name__", size) for axis, size in axes.items()}
                    for name, axes in graph.free.items()
                },
                opset_version=OPSET,
                export_params=False,
                do_constant_folding=False,
                dynamo=False,
                verbose=False,
            )
        except (torch.onnx.OnnxExporterError, RuntimeError, TypeError) as error:
            raise ExportError(f"torch cannot trace {type(module).__name__}: {error}") from error
    model = ir.from_proto(onnx.load_from_string(file.getvalue()))
    give_weights(model, {**dict(module.named_parameters()), **dict(module.named_buffers())}, graph.inputs)
    simplify(model)
    if any(tensor.dtype == torch.bfloat16 for tensor in module.parameters()):
        version_converter.convert_version(model, OPSET_OF_BFLOAT16)
    return model


def export_text_encoder(encoder: nn.Module, path: Path, *, length: int, fp16_weights: bool) -> None:
    """A CLIPTextModel, or any module from int64 ids to hidden states. The length in tokens is fixed."""
    ids = torch.randint(1, 100, (2, length), dtype=torch.int32)
    graph = Graph({"input_ids": ids}, ("hidden_states",), {"input_ids": BATCH})
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
    graph = Graph(
        {
            "sample": torch.randn(2, channels, 2 * multiple, 3 * multiple),
            "timestep": torch.tensor([[500.0], [20.0]]),
            "encoder_hidden_states": torch.randn(2, text_length, text_width),
        },
        ("out_sample",),
        {"sample": PICTURE, "timestep": BATCH, "encoder_hidden_states": BATCH},
    )
    export_graph(UNetContract(unet), graph, path, fp16_weights=fp16_weights)


def export_vae_decoder(decoder: nn.Module, path: Path, *, fp16_weights: bool) -> None:
    """A module from latents of 4 channels to pictures of 8 times their size (for an AutoencoderKL: KLDecoder)."""
    graph = Graph({"latents": torch.randn(2, 4, 16, 24)}, ("image",), {"latents": PICTURE})
    export_graph(decoder, graph, path, fp16_weights=fp16_weights)


def export_vae_encoder(encoder: nn.Module, path: Path, *, fp16_weights: bool) -> None:
    """A module from pictures to latents of 4 channels and an eighth of their size (for an AutoencoderKL: KLEncoder)."""
    graph = Graph({"image": torch.randn(2, 3, 128, 192)}, ("latents",), {"image": PICTURE})
    export_graph(encoder, graph, path, fp16_weights=fp16_weights)
