"""What the user names: a checkpoint, what is added to it, and what is allowed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from model_tools.checkpoints.adapters import ControlSource
from model_tools.checkpoints.lora import Lora


@dataclass(frozen=True)
class Inputs:
    """What the user names.

    Attributes:
        checkpoint: a folder in diffusers' layout, or a single file.
        controlnets: in the order in which the fused UNet takes their pictures.
        ip_adapter: a file, plain or Plus, and image_encoder: the folder of its picture tower.
        inpaint: a checkpoint whose UNet has 9 channels; that UNet alone is taken.
        vae: in place of the checkpoint's.
        tiny_vae: folder of an AutoencoderTiny that decodes in place of the VAE.
        loras: added to the UNets and text encoders.
        config, tokenizer, prediction: what a single file lacks; see SingleFile. "epsilon" or "v_prediction".
        license: counts more than the model card's.
        allow_non_commercial, allow_pickle: see licences.settle and weights.find_weights.
    """

    checkpoint: Path
    controlnets: tuple[ControlSource, ...] = ()
    ip_adapter: Path | None = None
    image_encoder: Path | None = None
    inpaint: Path | None = None
    vae: Path | None = None
    tiny_vae: Path | None = None
    loras: tuple[Lora, ...] = ()
    config: Path | None = None
    tokenizer: Path | None = None
    prediction: str | None = None
    license: str | None = None
    allow_non_commercial: bool = False
    allow_pickle: bool = False

    @property
    def added(self) -> list[Path]:
        """Paths of all that is added."""
        paths = [self.ip_adapter, self.image_encoder, self.inpaint, self.vae, self.tiny_vae]
        paths += [each.path for each in self.controlnets] + [each.path for each in self.loras]
        return [path for path in paths if path]
