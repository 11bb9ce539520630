"""AutoencoderTiny (TAESD and its kin) as the decoder of a checkpoint: less work, and pictures a little softer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from diffusers import AutoencoderTiny

from model_tools.checkpoints.adapters import STEM, weights_of
from model_tools.checkpoints.errors import CheckpointError
from model_tools.checkpoints.layout import Config, read_json, require_class
from model_tools.checkpoints.weights import build, read_state

if TYPE_CHECKING:
    from pathlib import Path

CLASSES = {"tiny VAE": ("AutoencoderTiny",)}
SAME = {"in_channels": 3, "out_channels": 3, "upsampling_scaling_factor": 2, "scaling_factor": 1.0, "shift_factor": 0.0}
"""What its configuration says where it takes latents as the denoiser has them and gives RGB."""

BLOCKS = (3, 3, 3, 1)
"""Of its levels, where its configuration does not say: AutoencoderTiny's own default."""


@dataclass(frozen=True)
class TinyVae:
    """A folder in diffusers' layout, as the user named it.

    Attributes:
        path: of the folder.
        channels, factor: of the checkpoint's latents, which it must take: how many, and pixels for each along a side.
        allow_pickle: whether a pickle will do.
    """

    path: Path
    channels: int
    factor: int
    allow_pickle: bool = False

    def require(self) -> None:
        """Compare it with the checkpoint, before weights are read.

        Raises:
            CheckpointError: it is not an AutoencoderTiny, or one for other latents; a file is missing.
        """
        config = self._config()
        for name, value in SAME.items():
            if config.get(name, value) != value:
                raise CheckpointError(f"{self.path}: its {name} is {config[name]!r:.60}, only {value} is known")
        blocks = config.get("num_decoder_blocks", BLOCKS)
        if not isinstance(blocks, (list, tuple)) or not blocks:
            raise CheckpointError(f"{self.path}: its num_decoder_blocks is {blocks!r:.60}, not a list of numbers")
        channels, factor = config.get("latent_channels", 4), 2 ** (len(blocks) - 1)
        if (channels, factor) != (self.channels, self.factor):
            raise CheckpointError(
                f"{self.path}: takes latents of {channels} channels, with {factor} pixels along a side, and the"
                f" checkpoint's have {self.channels}, with {self.factor}"
            )
        self.files()

    def files(self) -> list[Path]:
        """Its files of weights."""
        return weights_of(self.path, STEM, allow_pickle=self.allow_pickle)

    def load(self) -> AutoencoderTiny:
        """The network in float32."""
        config = self._config()
        return build(lambda: AutoencoderTiny.from_config(config), read_state(self.files()), str(self.path))

    def _config(self) -> Config:
        if not self.path.is_dir():
            raise CheckpointError(f"{self.path}: no such folder; a tiny VAE is one, in diffusers' layout")
        config = read_json(self.path / "config.json")
        require_class(self.path / "config.json", config, "tiny VAE", CLASSES)
        return config
