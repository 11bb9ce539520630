"""The two kinds of checkpoints that are added: UNets of Stable Diffusion and SDXL, and diffusion transformers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from model_tools.adding import table
from model_tools.adding.schedule import flow_table, schedule_table
from model_tools.adding.tokens import write_tokenizers
from model_tools.checkpoints import presets
from model_tools.checkpoints.checkpoint import Checkpoint
from model_tools.checkpoints.dit import architectures
from model_tools.checkpoints.dit import parts as dit_parts
from model_tools.checkpoints.dit.tokens import write_texts
from model_tools.export import parts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from torch import Tensor

    from model_tools.adding.aspect_sizes import Size
    from model_tools.adding.table import Table
    from model_tools.checkpoints.dit.checkpoint import TransformerCheckpoint
    from model_tools.checkpoints.inputs import Inputs
    from model_tools.checkpoints.presets import Preset


class Addable(Protocol):
    """What `add` asks of either kind. `preset` may be chosen by --few-step's word."""

    checkpoint: Any

    def preset(self, few_step: str | None) -> Preset: ...
    def schedule(self, preset: Preset) -> Table: ...
    def parts(self, size: Size) -> Sequence[parts.Part]: ...
    def tokens(self, folder: Path) -> Table: ...
    def keys(self, name: str, roles: Sequence[str], sizes: Sequence[Size], tokens: Table) -> Table: ...
    def encoder(self) -> Callable[[Tensor], Tensor]: ...
    def configs(self) -> list[Any]: ...


class Unets:
    """Stable Diffusion 1.x, 2.x and SDXL."""

    def __init__(self, inputs: Inputs) -> None:
        self.checkpoint = Checkpoint(inputs)

    def preset(self, few_step: str | None) -> Preset:
        """How it is used where a request does not say."""
        checkpoint = self.checkpoint
        return presets.choose(
            checkpoint.architecture, checkpoint.scheduler_config, few_step, embedded=checkpoint.guidance == "embedding"
        )

    def schedule(self, preset: Preset) -> Table:
        """The keys of [networks.NAME.schedule]."""
        return schedule_table(self.checkpoint.scheduler_config, preset.spacing)

    def parts(self, size: Size) -> Sequence[parts.Part]:  # noqa: ARG002  # UNets are warmed up at their native size
        """What it becomes, warmed up for pictures of that size."""
        return parts.plan(self.checkpoint)

    def tokens(self, folder: Path) -> Table:
        """Write tokenizers into `folder`; the keys of [networks.NAME] that name them."""
        return table.tokens_table(folder.name, self.checkpoint, write_tokenizers(self.checkpoint, folder))

    def keys(self, name: str, roles: Sequence[str], sizes: Sequence[Size], tokens: Table) -> Table:
        """The keys of [networks.NAME]."""
        return table.networks_table(name, self.checkpoint, roles, sizes, tokens)

    def encoder(self) -> Callable[[Tensor], Tensor]:
        """From pictures in [-1, 1] to latents as the UNet has them."""
        vae = self.checkpoint.vae()
        return lambda pixels: vae.encode(pixels).latent_dist.mode() * vae.config.scaling_factor

    def configs(self) -> list[Any]:
        """Of its networks."""
        checkpoint = self.checkpoint
        return [checkpoint.unet_config, checkpoint.vae_config, checkpoint.text_config, checkpoint.text_config_2]


class Transformers:
    """One of model_tools/checkpoints/dit."""

    def __init__(self, checkpoint: TransformerCheckpoint) -> None:
        self.checkpoint = checkpoint

    def preset(self, few_step: str | None) -> Preset:
        """As of Unets; what it was distilled to follows from its architecture and --steps.

        Raises:
            CheckpointError: --few-step is given.
        """
        return presets.of_transformer(self.checkpoint.preset, self.checkpoint.title, few_step)

    def schedule(self, preset: Preset) -> Table:  # noqa: ARG002  # its spacing is the architecture's
        """As of Unets."""
        return flow_table(self.checkpoint.scheduler_config, self.checkpoint.spacing, self.checkpoint.shift_by_size)

    def parts(self, size: Size) -> Sequence[parts.Part]:
        """As of Unets."""
        return dit_parts.plan(self.checkpoint, size)

    def tokens(self, folder: Path) -> Table:
        """As of Unets."""
        return {"texts": write_texts(self.checkpoint, folder)}

    def keys(self, name: str, roles: Sequence[str], sizes: Sequence[Size], tokens: Table) -> Table:
        """As of Unets."""
        return table.transformer_table(name, self.checkpoint, roles, sizes, tokens)

    def encoder(self) -> Callable[[Tensor], Tensor]:
        """As of Unets."""
        encode: Callable[[Tensor], Tensor] = self.checkpoint.vae().encode
        return encode

    def configs(self) -> list[Any]:
        """As of Unets."""
        return [*self.checkpoint.configs.values()]


def open_checkpoint(inputs: Inputs) -> Addable:
    """Read all of a checkpoint except its weights, and compare it.

    Raises:
        CheckpointError: it cannot be used; the message says why.
    """
    kind = architectures.find(inputs.checkpoint)
    return Transformers(kind(inputs)) if kind else Unets(inputs)
