"""LoRA files, added to a network's weights: W + scale · B A (Hu et al. 2021, arXiv:2106.09685, section 4.1).

Both usual layouts are read: kohya's (`lora_unet_…`, with alphas) and diffusers' or peft's. diffusers translates the
names; a name that belongs to no layer of the network is an error, where diffusers leaves it out.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
from diffusers.loaders import StableDiffusionLoraLoaderMixin, StableDiffusionXLLoraLoaderMixin
from diffusers.loaders.lora_base import LORA_ADAPTER_METADATA_KEY
from diffusers.utils.state_dict_utils import (
    StateDictType,
    convert_state_dict_to_peft,
    convert_unet_state_dict_to_peft,
)

from model_tools.checkpoints.errors import CheckpointError
from model_tools.checkpoints.weights import State, listed, metadata, read_state, require_finite, require_no_pickle

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

PARTS = ("text_encoder_2", "text_encoder", "unet")
UNKNOWN = ("dora_scale", "lora_magnitude_vector", "hada_", "lokr_", "lora_mid", "ia3_", "oft_")
"""In the names of what is not a plain LoRA: DoRA, LoHa, LoKr, Tucker's decomposition, (IA)³, OFT."""
KOHYA = ("lora_unet_", "lora_te_", "lora_te1_", "lora_te2_")
NAME = re.compile(r"(?P<layer>.+)\.lora_(?P<half>[AB])(\.default)?\.weight")


@dataclass(frozen=True)
class Lora:
    """A LoRA file and its weight.

    Attributes:
        path: of the .safetensors file.
        weight: 1 adds it as it was trained.
    """

    path: Path
    weight: float = 1.0

    @classmethod
    def parse(cls, text: str) -> Lora:
        """FILE or FILE:WEIGHT."""
        name, colon, number = text.rpartition(":")
        try:
            return cls(Path(name), float(number)) if colon else cls(Path(text))
        except ValueError:  # a colon of the path
            return cls(Path(text))


@dataclass(frozen=True)
class Halves:
    """The two matrices of one layer: A "down" (r, in, …), B "up" (out, r, …), B scaled by alpha / r."""

    down: Tensor
    up: Tensor


class LoraLayers:
    """A LoRA file's layers, by part and by name with underscores for dots."""

    def __init__(self, lora: Lora, unet_config: Mapping[str, Any], *, xl: bool, allow_pickle: bool = False) -> None:
        """Read and translate it.

        Raises:
            CheckpointError: it is missing, not a LoRA, of another kind, or holds what is not a number.
        """
        require_no_pickle(lora.path, allow_pickle=allow_pickle)
        state = read_state([lora.path])
        require_finite(state, str(lora.path))
        if other := [name for name in state if any(kind in name for kind in UNKNOWN)]:
            raise CheckpointError(f"{lora.path}: not a plain LoRA, it has {listed(other)}")
        self.lora = lora
        self.parts = _split(_translated(_scaled(state, _noted(lora.path)), unet_config, lora.path, xl=xl), lora.path)

    def fuse(self, network: nn.Module, part: str) -> None:
        """Add the layers of `part` to the network's weights, which change.

        Raises:
            CheckpointError: a layer is not there, or of another shape.
        """
        layers = {
            name.replace(".", "_"): module for name, module in network.named_modules() if hasattr(module, "weight")
        }
        for name, halves in self.parts.get(part, {}).items():
            forms = (name, name.removeprefix("text_model_"), f"text_model_{name}")
            layer = next((layers[form] for form in forms if form in layers), None)
            if layer is None:
                raise CheckpointError(f"{self.lora.path}: the {part} of this checkpoint has no layer {name}")
            _add(layer.weight, halves, self.lora.weight, f"{self.lora.path}: {part} {name}")


def _add(weight: Tensor, halves: Halves, scale: float, where: str) -> None:
    up, down = halves.up.float().flatten(1), halves.down.float().flatten(1)
    if up.shape[1] != down.shape[0] or (up.shape[0], down.shape[1]) != tuple(weight.flatten(1).shape):
        shapes = f"{list(halves.up.shape)} and {list(halves.down.shape)}"
        raise CheckpointError(f"{where} has the shapes {shapes}, which do not fit a weight of {list(weight.shape)}")
    with torch.no_grad():
        weight.add_((scale * (up @ down)).reshape(weight.shape))


def _noted(path: Path) -> dict[str, float]:
    """Of each part, alpha as diffusers notes it in the file's metadata.

    Raises:
        CheckpointError: layers have alphas or scalings of their own.
    """
    notes = json.loads(metadata(path).get(LORA_ADAPTER_METADATA_KEY, "{}"))
    for name, value in notes.items():
        if value and name.endswith(("alpha_pattern", "use_rslora", "use_dora")):
            raise CheckpointError(f"{path}: is scaled by {name}, which is not known here")
    return {name.removesuffix(".lora_alpha"): float(notes[name]) for name in notes if name.endswith(".lora_alpha")}


def _scaled(state: State, noted: Mapping[str, float]) -> State:
    """The same LoRA with alpha = r everywhere: each B times alpha / r. What has no alpha has that already."""
    scaled = {name: tensor for name, tensor in state.items() if not name.endswith(".alpha")}
    for name, matrix in scaled.items():
        up = re.sub(r"lora_B|(?<=lora_)up|(?<=lora\.)up|(?<=lora_linear_layer\.)up", "UP", name)
        if up == name:
            continue
        down = name.replace("lora_B", "lora_A") if "lora_B" in name else up.replace("UP", "down")
        part = next((part for part in PARTS if name.startswith(f"{part}.")), "")
        layer = re.split(r"\.lora[_.]", name)[0]
        alpha = state.get(f"{layer}.alpha")
        value = float(alpha) if alpha is not None else noted.get(part)
        if value is not None and down in scaled:
            scaled[name] = matrix.float() * (value / scaled[down].shape[0])
    return scaled


def _translated(state: State, unet_config: Mapping[str, Any], path: Path, *, xl: bool) -> State:
    """By diffusers' names, each beginning with its part."""
    loader = StableDiffusionXLLoraLoaderMixin if xl else StableDiffusionLoraLoaderMixin
    kohya = [name for name in state if name.startswith(KOHYA)]
    if kohya and len(kohya) < len(state):
        raise CheckpointError(
            f"{path}: not a LoRA that is known here, it has {listed([n for n in state if n not in kohya])}"
        )
    try:
        translated, _ = loader.lora_state_dict(dict(state), unet_config=SimpleNamespace(**unet_config))
    except (ValueError, KeyError, IndexError) as error:
        raise CheckpointError(f"{path}: not a LoRA that is known here: {str(error).strip()[:200]}") from error
    return {name if name.startswith(PARTS) else f"unet.{name}": tensor for name, tensor in translated.items()}


def _split(state: State, path: Path) -> dict[str, dict[str, Halves]]:
    """Both halves of each layer, by part and layer."""
    parts: dict[str, dict[str, Halves]] = {}
    for part in PARTS:
        named = {name.removeprefix(f"{part}."): t for name, t in state.items() if name.startswith(f"{part}.")}
        found: dict[str, dict[str, Tensor]] = {}
        for name, tensor in _in_peft(named, part).items():
            match = NAME.fullmatch(name.replace(".lora.down", ".lora_A").replace(".lora.up", ".lora_B"))
            if not match:
                raise CheckpointError(f"{path}: not a LoRA that is known here, it has {part}.{name}")
            found.setdefault(match["layer"].replace(".", "_"), {})[match["half"]] = tensor
        for layer, halves in found.items():
            if len(halves) < 2:
                raise CheckpointError(f"{path}: {part}.{layer} has one matrix of two")
        if found:
            parts[part] = {layer: Halves(halves["A"], halves["B"]) for layer, halves in found.items()}
    if not parts:
        raise CheckpointError(f"{path}: is not a LoRA")
    return parts


def _in_peft(state: State, part: str) -> State:
    if part == "unet":
        return convert_unet_state_dict_to_peft(state)
    return convert_state_dict_to_peft(state, StateDictType.DIFFUSERS_OLD)  # knows the newer names, too
