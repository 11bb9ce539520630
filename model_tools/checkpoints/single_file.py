"""Checkpoints in a single file: Stable Diffusion's own layout, converted by diffusers, without a hub.

The file holds weights alone. Configurations come from `published.py`, or from a folder in diffusers' layout that the
user names; so do tokenizers.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

from diffusers.loaders import single_file_utils as ldm

from model_tools.checkpoints import published
from model_tools.checkpoints.errors import CheckpointError
from model_tools.checkpoints.layout import Config, Folder
from model_tools.checkpoints.weights import State, read_state, require_no_pickle, tensor_names

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

UNET = "model.diffusion_model."
VAES = tuple(ldm.LDM_VAE_KEYS)
KINDS: Mapping[str, published.Published] = {
    "v1": published.SD1,
    "inpainting": published.SD1,
    "v2": published.SD2,
    "inpainting_v2": published.SD2,
    "xl_base": published.SDXL,
    "xl_inpaint": published.SDXL,
}
"""By what diffusers calls the file."""
OPEN_CLIP = {"text_encoder": "cond_stage_model.model.", "text_encoder_2": "conditioner.embedders.1.model."}
"""Prefixes of text encoders in OpenCLIP's layout."""
PREFIXES: Mapping[str, tuple[str, ...]] = {
    "unet": (UNET,),
    "vae": VAES,
    "text_encoder": ("cond_stage_model.", "conditioner.embedders.0."),
    "text_encoder_2": ("conditioner.embedders.1.",),
}


class SingleFile:
    """A checkpoint in one .safetensors (or, if allowed, .ckpt) file."""

    def __init__(
        self, path: Path, *, allow_pickle: bool = False, config: Path | None = None, tokenizer: Path | None = None
    ) -> None:
        """Read the names of its tensors.

        Args:
            path: of the file.
            allow_pickle: whether a .ckpt will do.
            config: a folder in diffusers' layout, whose configurations (and tokenizers) count; weights may lack.
            tokenizer: a folder with CLIP's tokenizer, where `config` has none.

        Raises:
            CheckpointError: it is a pickle, cannot be read, or is of another architecture.
        """
        require_no_pickle(path, allow_pickle=allow_pickle)
        self.path, self._tokenizer = path, tokenizer
        self._folder = Folder(config) if config else None
        self._names = tensor_names(path)
        kind = _kind(self._names)
        if kind not in KINDS or f"{UNET}input_blocks.0.0.weight" not in self._names:
            what = f"diffusers takes it for {kind!r}" if kind not in KINDS else "it has no UNet of that layout"
            raise CheckpointError(
                f"{path}: not a checkpoint of Stable Diffusion 1.x, 2.x or SDXL in a single file; {what}"
            )
        self.published = KINDS[kind]

    def has(self, part: str) -> bool:
        """Whether it has tensors of that part."""
        return any(name.startswith(PREFIXES[part]) for name in self._names)

    def config(self, part: str) -> Config:
        """The published configuration of that part, or that of the folder; its UNet's channels are the file's."""
        if self._folder:
            return self._folder.config(part)
        config = dict(self.published.configs[part])
        if part == "unet":
            config["in_channels"] = self._names[f"{UNET}input_blocks.0.0.weight"][1]
        if part == "scheduler" and "v_pred" in self._names:  # a tensor that marks such fine-tunes of SDXL
            config["prediction_type"] = "v_prediction"
        return config

    def files(self, part: str) -> list[Path]:
        """The file, whatever the part."""
        if not self.has(part):
            raise CheckpointError(f"{self.path}: has no {part}")
        return [self.path]

    def state(self, part: str) -> State:
        """The part's tensors, by diffusers' names.

        Raises:
            CheckpointError: one is missing that the conversion needs.
        """
        state = read_state(self.files(part), lambda name: name.startswith(PREFIXES[part]))
        try:
            return convert(part, state, self.config(part))
        except KeyError as error:
            raise CheckpointError(f"{self.path}: lacks {error.args[0]}, of the {part}") from error

    def tokenizer(self, part: str) -> Path:
        """The folder that the user named.

        Raises:
            CheckpointError: there is none.
        """
        if self._tokenizer:
            return self._tokenizer
        if self._folder:
            return self._folder.tokenizer(part)
        raise CheckpointError(
            f"{self.path}: a single file holds no tokenizer; name a folder with CLIP's (tokenizer.json, or vocab.json"
            " and merges.txt) by --tokenizer, or one in diffusers' layout by --config"
        )


def _kind(names: Mapping[str, tuple[int, ...]]) -> str:
    """What diffusers calls a file of tensors of those names and shapes."""
    try:
        return ldm.infer_diffusers_model_type({name: SimpleNamespace(shape=shape) for name, shape in names.items()})
    except (KeyError, IndexError) as error:
        return f"something with {error}"


def convert(part: str, state: State, config: Config) -> State:
    """Tensors in Stable Diffusion's own layout, by diffusers' names: its own conversion."""
    if part == "unet":
        return ldm.convert_ldm_unet_checkpoint(state, config)
    if part == "vae":
        return ldm.convert_ldm_vae_checkpoint(state, config)
    prefix = OPEN_CLIP[part]
    if any(name.startswith(prefix) for name in state):
        # It asks the network for its width, and nothing else.
        width = SimpleNamespace(config=SimpleNamespace(hidden_size=config["hidden_size"]))
        return ldm.convert_open_clip_checkpoint(width, state, prefix)
    return ldm.convert_ldm_clip_checkpoint(state)
