"""The architectures that are known, by the pipeline that a checkpoint names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from model_tools.checkpoints.dit.flux import Flux
from model_tools.checkpoints.dit.flux2 import Flux2Klein
from model_tools.checkpoints.dit.qwen_image import QwenImage
from model_tools.checkpoints.dit.sd3 import StableDiffusion3
from model_tools.checkpoints.dit.z_image import ZImage
from model_tools.checkpoints.layout import read_json

if TYPE_CHECKING:
    from pathlib import Path

    from model_tools.checkpoints.dit.checkpoint import TransformerCheckpoint

ARCHITECTURES: tuple[type[TransformerCheckpoint], ...] = (ZImage, Flux, StableDiffusion3, QwenImage, Flux2Klein)


def find(path: Path) -> type[TransformerCheckpoint] | None:
    """The architecture of a checkpoint; None where it is not a transformer of those known here.

    Raises:
        CheckpointError: model_index.json is missing, or not an object.
    """
    if not path.is_dir():
        return None
    named = str(read_json(path / "model_index.json").get("_class_name", ""))
    return next((kind for kind in ARCHITECTURES if named in kind.pipelines), None)
