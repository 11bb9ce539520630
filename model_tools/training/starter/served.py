"""The steered denoiser and the image encoder as they are served: modules and graphs with the contract's names."""

from pathlib import Path

import torch
from torch import Tensor, nn

from model_tools.export.graphs import Graph, export_graph
from model_tools.training.starter.data.canvas import PROMPT_SIDE
from model_tools.training.starter.networks.autoencoder import LATENT_CHANNELS
from model_tools.training.starter.networks.controlled import Steering
from model_tools.training.starter.networks.image_prompt import TOKENS
from model_tools.training.starter.networks.text import LENGTH, WIDTH

# What a request may leave out, and the shape of the zeros that stand for it (engines/absent.py).
ABSENT = {
    "control_image": "3, 8*sample[2], 8*sample[3]",
    "control_scale": "",
    "image_embeds": "",
    "image_scale": "",
}


class SteeredContract(nn.Module):
    """The denoiser with its adapters, every tensor an input of its own."""

    def __init__(self, denoiser: nn.Module) -> None:
        super().__init__()
        self.denoiser = denoiser

    def forward(
        self,
        sample: Tensor,
        timestep: Tensor,
        encoder_hidden_states: Tensor,
        control_image: Tensor,
        control_scale: Tensor,
        image_embeds: Tensor,
        image_scale: Tensor,
    ) -> Tensor:
        steering = Steering(control_image, control_scale, image_embeds, image_scale)
        output: Tensor = self.denoiser(sample, timestep.squeeze(1), encoder_hidden_states, steering)
        return output


class ImageContract(nn.Module):
    """The image encoder; the tokens of no picture, for the row without a prompt, are zeros."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        tokens: Tensor = self.encoder(image)
        return tokens, torch.zeros_like(tokens)


def steered_cases(shapes: list[tuple[int, int, int]]) -> list[dict[str, Tensor]]:
    """Random inputs by the contract's names, one case for each (batch, height, width) in latent positions.

    Every third row is steered by nothing.
    """
    random = torch.Generator().manual_seed(1)
    cases = []
    for batch, height, width in shapes:
        case = {
            "sample": torch.randn(batch, LATENT_CHANNELS, height, width, generator=random),
            "timestep": torch.randint(0, 1000, (batch, 1), generator=random).float(),
            "encoder_hidden_states": torch.randn(batch, LENGTH, WIDTH, generator=random),
        }
        scales = torch.rand(batch, 2, generator=random) * (torch.arange(batch) % 3 > 0)[:, None]
        edges = (torch.rand(batch, 1, 8 * height, 8 * width, generator=random) > 0.9).float().expand(-1, 3, -1, -1)
        case["control_image"] = edges.contiguous()
        case["control_scale"] = scales[:, :1].contiguous()
        case["image_embeds"] = torch.randn(batch, TOKENS, WIDTH, generator=random)
        case["image_scale"] = scales[:, 1:].contiguous()
        cases.append(case)
    return cases


def export_steered_unet(denoiser: nn.Module, path: Path, *, multiple: int) -> None:
    """Writes the denoiser with its adapters. `multiple`: what latent sides are multiples of."""
    batch = torch.export.Dim("batch", min=1, max=64)
    rows, columns = (torch.export.Dim(name, min=1, max=64) for name in ("rows", "columns"))
    free = {0: batch, 2: multiple * rows, 3: multiple * columns}
    pixels = {0: batch, 2: 8 * multiple * rows, 3: 8 * multiple * columns}
    (case,) = steered_cases([(2, 2 * multiple, 3 * multiple)])
    sides = {"sample": free, "control_image": pixels}
    graph = Graph(case, ("out_sample",), {name: sides.get(name, {0: batch}) for name in case})
    export_graph(SteeredContract(denoiser), graph, path, fp16_weights=True)


def export_image_encoder(encoder: nn.Module, path: Path) -> None:
    """Writes the image encoder."""
    batch = torch.export.Dim("batch", min=1, max=64)
    outputs = ("image_embeds", "negative_image_embeds")
    graph = Graph({"image": torch.rand(2, 3, PROMPT_SIDE, PROMPT_SIDE) * 2 - 1}, outputs, {"image": {0: batch}})
    export_graph(ImageContract(encoder), graph, path, fp16_weights=True)


def decoder_cases(shapes: list[tuple[int, int, int]]) -> list[dict[str, Tensor]]:
    """Random latents for the VAE decoder, one case for each (batch, height, width)."""
    random = torch.Generator().manual_seed(2)
    return [{"latents": torch.randn(n, LATENT_CHANNELS, high, wide, generator=random)} for n, high, wide in shapes]


def export_decoder(decoder: nn.Module, path: Path) -> None:
    """Writes the VAE decoder for latents of any size."""
    batch = torch.export.Dim("batch", min=1, max=64)
    rows, columns = torch.export.Dim("rows", min=2, max=512), torch.export.Dim("columns", min=2, max=512)
    example = {"latents": torch.randn(2, LATENT_CHANNELS, 16, 24)}
    graph = Graph(example, ("image",), {"latents": {0: batch, 2: rows, 3: columns}})
    export_graph(decoder, graph, path, fp16_weights=True)
