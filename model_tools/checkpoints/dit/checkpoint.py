"""A checkpoint of a diffusion transformer in diffusers' layout, checked; its networks one at a time, in float32.

Each architecture is a class: what its pipeline does with prompts and latents, and the contracts of its networks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import diffusers
import transformers

from model_tools.checkpoints import licences
from model_tools.checkpoints.dit.tensors import with_plain_norms
from model_tools.checkpoints.errors import CheckpointError
from model_tools.checkpoints.layout import Config, Folder
from model_tools.checkpoints.tiny_vae import TinyVae
from model_tools.checkpoints.weights import State, build

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from torch import nn

    from model_tools.checkpoints.inputs import Inputs
    from model_tools.checkpoints.presets import Preset

ADDED = ("controlnets", "ip_adapter", "image_encoder", "inpaint", "vae", "loras", "prediction", "config", "tokenizer")
"""Inputs that only UNets have."""


@dataclass(frozen=True)
class Text:
    """A tokenizer, and what its text encoder is given.

    Attributes:
        folder: of the tokenizer, in the checkpoint.
        kind: the tokenizer's class in transformers.
        length: tokens.
        chat: arguments of its chat template; None for the prompt alone.
        template: put around the prompt, where it is the pipeline's own.
    """

    folder: str
    kind: str
    length: int
    chat: Mapping[str, object] | None = None
    template: str = "{prompt}"


class TransformerCheckpoint(ABC):
    """A checkpoint of one of ARCHITECTURES (open.py).

    Attributes:
        architecture: by its name here.
        title: as its authors call it.
        pipelines: classes of model_index.json that it comes with.
        classes: of its networks, by part.
        texts: what its text encoder is given, one after the other.
        preset: how it is used where nobody says.
        native: side, in pixels, of the pictures that it was trained with.
        patch: latents of a token, along a side.
        spacing, shift_by_size: of noise levels, as FlowTable has them.
        guidance: "classifier_free", "embedding" or "none", as NetworkTable has it.
        guidance_norm: see NetworkTable.
        pooled: whether the text encoder gives a vector for the whole prompt, too.
        masked: whether hidden states that are zeros are no part of the prompt.
        has_tiny_vae: whether an AutoencoderTiny for its latents is known.
    """

    architecture: ClassVar[str]
    title: ClassVar[str]
    pipelines: ClassVar[tuple[str, ...]]
    classes: ClassVar[Mapping[str, tuple[str, ...]]]
    texts: ClassVar[tuple[Text, ...]]
    preset: ClassVar[Preset]
    native: ClassVar[int] = 1024
    patch: ClassVar[int] = 2
    spacing: ClassVar[str] = "trailing"
    shift_by_size: ClassVar[str] = "size"
    guidance: ClassVar[str] = "classifier_free"
    guidance_norm: ClassVar[bool] = False
    pooled: ClassVar[bool] = False
    masked: ClassVar[bool] = False
    has_tiny_vae: ClassVar[bool] = False

    def __init__(self, inputs: Inputs) -> None:
        """Read all except its weights, and compare it.

        Raises:
            CheckpointError: a file is missing, a part is of a class or shape that is not known, something is added that
                this architecture does not take, or the licence is missing or forbids commercial use.
        """
        self.inputs = inputs
        self._source = Folder(inputs.checkpoint, allow_pickle=inputs.allow_pickle, classes=self.classes)
        if given := [name for name in ADDED if getattr(inputs, name)]:
            option = "--" + given[0].removesuffix("s").replace("_", "-").replace("prediction", "prediction-type")
            raise CheckpointError(f"{option} is for Stable Diffusion and SDXL; {self.title} takes none here")
        for part in self.classes:
            if not self._source.has(part):
                raise CheckpointError(f"{inputs.checkpoint}: model_index.json names no {part}")
        self.configs = {part: self._source.config(part) for part in self.classes}
        self.scheduler_config = self._source.config("scheduler")
        self.require()
        self._tiny = self._tiny_vae()
        settled = licences.settle(
            inputs.checkpoint, inputs.license, inputs.added, allow_non_commercial=inputs.allow_non_commercial
        )
        self.license, self.commercial = settled.name, settled.commercial

    @abstractmethod
    def require(self) -> None:
        """Compare configurations with what is known, and with each other; CheckpointError where they do not fit."""

    @abstractmethod
    def text_encoder(self) -> nn.Module:
        """From `input_ids` [B, L], of all texts, to hidden states, and what is pooled."""

    @abstractmethod
    def transformer(self) -> nn.Module:
        """The denoiser behind the contract (model_tools/checkpoints/dit)."""

    @abstractmethod
    def vae(self) -> nn.Module:
        """The autoencoder, with `encode` and `decode` of latents as the transformer takes them."""

    def tiny_vae(self) -> nn.Module | None:
        """What decodes in the autoencoder's place."""
        return self._tiny.load() if self._tiny else None

    def _tiny_vae(self) -> TinyVae | None:
        path = self.inputs.tiny_vae
        if path is None:
            return None
        if not self.has_tiny_vae:
            raise CheckpointError(f"--tiny-vae: no AutoencoderTiny takes the latents of {self.title}")
        tiny = TinyVae(path, self.channels, self.factor, self.inputs.allow_pickle)
        tiny.require()
        return tiny

    @property
    @abstractmethod
    def text_shape(self) -> tuple[int, int]:
        """Tokens and width of the hidden states."""

    @property
    @abstractmethod
    def vocabularies(self) -> tuple[int, ...]:
        """Words that the text encoder knows, for each of `texts`."""

    @property
    def pooled_width(self) -> int:
        """Of the vector for the whole prompt; 0 without."""
        return 0

    @property
    def channels(self) -> int:
        """Of the latents."""
        return int(self.configs["vae"]["latent_channels"])

    @property
    def factor(self) -> int:
        """Pixels for each latent, along a side."""
        return int(2 ** (len(self.configs["vae"]["block_out_channels"]) - 1))

    @property
    def multiple(self) -> int:
        """What the sides of latents are multiples of."""
        return self.patch

    @property
    def vae_config(self) -> Config:
        """Of the autoencoder."""
        return self.configs["vae"]

    def has(self, role: str) -> bool:
        """Whether it has the network of that role (orchestrator/models/specs.py, FAMILY_ROLES)."""
        return role in ("text_encoder", "unet", "vae_encoder", "vae_decoder")

    def tokenizer_folder(self, text: Text) -> Path:
        """Where a tokenizer is."""
        return self._source.path / text.folder

    def loads(self) -> dict[str, Callable[[], object]]:
        """What loads each network, by name: to call each once shows that all can be built."""
        loads = {"text_encoder": self.text_encoder, "vae": self.vae, "transformer": self.transformer}
        return {**loads, "tiny_vae": self.tiny_vae} if self._tiny else loads

    def files(self) -> list[Path]:
        """Every file of weights that is read."""
        paths = [path for part in self.classes for path in self._source.files(part)]
        return paths + (self._tiny.files() if self._tiny else [])

    def diffuser(self, part: str) -> Any:  # noqa: ANN401  # of a class by name
        """A network of diffusers, by its configuration."""
        kind = getattr(diffusers, self.classes[part][0])
        config = self.configs[part]
        return with_plain_norms(build(lambda: kind.from_config(config), self._source.state(part), self._where(part)))

    def language_model(self, part: str, kind: str, rename: Callable[[State], State] = dict) -> Any:  # noqa: ANN401
        """A network of transformers of that class, by its configuration.

        Args:
            part: of the checkpoint.
            kind: of transformers.
            rename: what its tensors are called in that class, where files call them otherwise.
        """
        made = getattr(transformers, kind)
        config = made.config_class(**self.text_config(part))
        return build(lambda: made(config), rename(self._source.state(part)), self._where(part))

    def text_config(self, part: str) -> Config:
        """The part's configuration of text."""
        return self.configs[part]

    @cached_property
    def pad_ids(self) -> tuple[int, ...]:
        """Token ids that fill up, for each of `texts`."""
        return tuple(int(read_tokenizer(self.tokenizer_folder(t), t.kind).pad_token_id) for t in self.texts)

    def _where(self, part: str) -> str:
        return str(self._source.files(part)[0])

    def must(self, part: str, known: Mapping[str, object]) -> None:
        """Refuse a part whose configuration has other values.

        Raises:
            CheckpointError: as it says.
        """
        for name, value in known.items():
            if (found := self.configs[part].get(name, value)) != value:
                raise CheckpointError(
                    f"{self.inputs.checkpoint}: the {part} of {self.title} has {name} {found!r:.60}, only {value} is"
                    " known here"
                )

    def agree(self, what: str, one: object, other: object) -> None:
        """Refuse parts that do not fit each other.

        Raises:
            CheckpointError: the values differ.
        """
        if one != other:
            raise CheckpointError(f"{self.inputs.checkpoint}: {what}: {one} and {other} do not fit each other")


def read_tokenizer(folder: Path, kind: str) -> transformers.PreTrainedTokenizerBase:
    """The tokenizer of a folder, of a class of transformers; nothing in it is run.

    Raises:
        CheckpointError: files are missing, or it is another model's.
    """
    slow = all((folder / name).is_file() for name in ("vocab.json", "merges.txt"))
    if not (folder / "tokenizer.json").is_file() and not slow:
        raise CheckpointError(f"{folder / 'tokenizer.json'}: no such file")
    try:
        tokens = getattr(transformers, kind).from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # tokenizers' Rust side raises bare Exception
        raise CheckpointError(f"{folder}: not a tokenizer of class {kind}: {error}") from error
    if tokens.pad_token_id is None:
        raise CheckpointError(f"{folder}: the tokenizer names no pad_token")
    return tokens
