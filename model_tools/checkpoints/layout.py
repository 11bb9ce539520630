"""Checkpoints in diffusers' layout: a folder for each network, with its config.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from model_tools.checkpoints.errors import CheckpointError
from model_tools.checkpoints.weights import State, find_weights, read_state

Config = dict[str, Any]
STEMS = dict.fromkeys(("unet", "transformer", "vae"), "diffusion_pytorch_model")
"""Of the weights' files; transformers' networks have "model"."""
CLASSES = {
    "unet": ("UNet2DConditionModel",),
    "vae": ("AutoencoderKL",),
    "text_encoder": ("CLIPTextModel",),
    "text_encoder_2": ("CLIPTextModelWithProjection",),
}
"""Kinds of networks that are known, by the part they are of a checkpoint."""
OTHERS = {
    "StableDiffusion3": "Stable Diffusion 3 of another kind",
    "Flux": "FLUX of another kind",
    "QwenImage": "Qwen-Image of another kind",
    "ZImage": "Z-Image of another kind",
    "PixArt": "PixArt",
    "Sana": "Sana",
    "AuraFlow": "AuraFlow",
    "HunyuanDiT": "Hunyuan-DiT",
    "Kandinsky": "Kandinsky",
    "StableCascade": "Stable Cascade",
    "Wuerstchen": "Würstchen",
    "IFPipeline": "DeepFloyd IF",
    "StableDiffusionUpscale": "Stable Diffusion's upscaler",
    "StableDiffusionInstructPix2Pix": "InstructPix2Pix",
    "StableDiffusionXLInstructPix2Pix": "InstructPix2Pix for SDXL",
}


UNKNOWN = "which is not known here; docs/models.md lists those that are"


class Source(Protocol):
    """A checkpoint's files, whatever their layout."""

    path: Path

    def has(self, part: str) -> bool:
        """Whether it has that part: unet, vae, text_encoder, text_encoder_2."""
        ...

    def config(self, part: str) -> Config:
        """The part's configuration as diffusers or transformers write it; "scheduler" and "index" are parts too."""
        ...

    def state(self, part: str) -> State:
        """The part's tensors as stored, by diffusers' names."""
        ...

    def files(self, part: str) -> list[Path]:
        """Where those come from."""
        ...

    def tokenizer(self, part: str) -> Path:
        """The folder of the tokenizer that belongs to a text encoder."""
        ...


class Folder:
    """A checkpoint in diffusers' layout."""

    def __init__(
        self, path: Path, *, allow_pickle: bool = False, classes: Mapping[str, tuple[str, ...]] = CLASSES
    ) -> None:
        """Look at model_index.json.

        Args:
            path: of the folder.
            allow_pickle: whether weights may be pickles.
            classes: kinds of networks that are known, by part.

        Raises:
            CheckpointError: it is not there.
        """
        self.path, self._allow_pickle, self._classes = path, allow_pickle, classes
        self._index = read_json(path / "model_index.json")

    def has(self, part: str) -> bool:
        """Whether model_index.json names it, with a class."""
        named = self._index.get(part)
        return isinstance(named, list) and named[-1] is not None

    def config(self, part: str) -> Config:
        """Its configuration; of "index", model_index.json.

        Raises:
            CheckpointError: it is missing, or of a class that is not known.
        """
        if part == "index":
            return self._index
        path = self.path / part / ("scheduler_config.json" if part == "scheduler" else "config.json")
        config = read_json(path)
        require_class(path, config, part, self._classes)
        return config

    def files(self, part: str) -> list[Path]:
        """The part's files of weights."""
        return find_weights(self.path / part, STEMS.get(part, "model"), allow_pickle=self._allow_pickle)

    def state(self, part: str) -> State:
        """The part's tensors."""
        return read_state(self.files(part))

    def tokenizer(self, part: str) -> Path:
        """tokenizer/ or tokenizer_2/."""
        return self.path / part.replace("text_encoder", "tokenizer")


def read_json(path: Path) -> Config:
    """A file of JSON that holds an object.

    Raises:
        CheckpointError: it is missing, or holds something else.
    """
    try:
        config = json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: no such file") from error
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: {error}") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{path}: is not a JSON object")
    return config


def require_class(path: Path, config: Config, part: str, classes: Mapping[str, tuple[str, ...]] = CLASSES) -> None:
    """Refuse a network of a class that is not the part's.

    Raises:
        CheckpointError: as it says.
    """
    kinds = classes.get(part)
    named = [config["_class_name"]] if "_class_name" in config else config.get("architectures") or []
    if kinds and named and not set(named) & set(kinds):
        raise CheckpointError(
            f"{path}: the {part} is a {named[0]}, not a {kinds[0]}: this architecture is not known here"
        )


def refuse_others(path: Path, pipeline: str) -> None:
    """Refuse the pipelines of other architectures, by what they are.

    Raises:
        CheckpointError: it is not one of Stable Diffusion 1.x, 2.x or SDXL.
    """
    for prefix, name in OTHERS.items():
        if pipeline.startswith(prefix):
            raise CheckpointError(f"{path}: a checkpoint of {name} ({pipeline}), {UNKNOWN}")
    if not pipeline.startswith(("StableDiffusion", "LatentConsistencyModel")):
        raise CheckpointError(f"{path}: a checkpoint of {pipeline or 'no named pipeline'}, {UNKNOWN}")
