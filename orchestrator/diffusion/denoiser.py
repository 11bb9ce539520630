"""The network of one request's steps: which UNet, what steers it, guidance, and tiles where the picture is large."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from orchestrator.arrays import Floats
from orchestrator.diffusion import guidance, tiles
from orchestrator.diffusion.answers import expect
from orchestrator.diffusion.inputs import Control
from orchestrator.diffusion.sampling import Latents
from orchestrator.diffusion.stages import Steps
from orchestrator.diffusion.tiles import View
from orchestrator.models.contracts import AddedRows, ControlRows, ImageRows, Networks
from orchestrator.models.tables import NetworkTable


@dataclass(frozen=True, slots=True)
class Conditions:
    """What each step's network call gets in addition to latents and timestep.

    Attributes:
        hidden: (n, L, D), a row for each guidance row: [without prompt, with prompt], or the latter alone.
        likeness: (n, N, D) tokens of the image prompt, laid out as `hidden`; None without.
        likeness_scale: of the image prompt.
        control: a picture that steers, for every guidance row (diffusers' guess_mode=False).
        masked: (1, 1 + C, h, w) mask and masked picture's latents, for the inpainting UNet; None for the others.
        added: what the network gets in addition, laid out as `hidden`; None for nothing.
    """

    hidden: Floats
    likeness: Floats | None = None
    likeness_scale: float = 0.0
    control: Control | None = None
    masked: Floats | None = None
    added: AddedRows | None = None


class Denoiser:
    """A sampling.Network over a family's UNets. Holds no state of a step."""

    def __init__(
        self, networks: Networks, table: NetworkTable, conditions: Conditions, guidance_scale: float, steps: Steps
    ) -> None:
        self._networks, self._table, self._conditions = networks, table, conditions
        self._guidance_scale, self._steps = guidance_scale, steps
        self._rows = len(conditions.hidden)

    async def __call__(self, x: Latents, timestep: float) -> Latents:
        """(1, C, h, w) and a timestep to the prediction after guidance.

        Latents larger than a tile are seen in overlapping views, as many of them in a call as its rows allow.
        """
        height, width = x.shape[2:]
        views = tiles.views(height, width, *self._tile(height, width))
        if len(views) == 1:
            return await self._predict(x, views, timestep)
        average = tiles.Average(x.shape)
        for batch in tiles.batches(views, max(1, self._networks.max_rows // self._rows)):
            answers = await self._predict(np.concatenate([view.cut(x) for view in batch]), batch, timestep)
            for view, answer in zip(batch, answers, strict=True):
                average.add(view, answer)
        return average.result()

    def _tile(self, height: int, width: int) -> tuple[int, int]:
        """Height and width at which the UNet sees latents: theirs, if that is an aspect size, or a tile's."""
        factor = self._table.latent_factor
        if (width * factor, height * factor) in self._table.aspect_sizes:
            return height, width
        tile_width, tile_height = self._table.tile_size
        return tile_height // factor, tile_width // factor

    async def _predict(self, x: Latents, views: Sequence[View], timestep: float) -> Latents:
        """The prediction for the latents (n, C, h, w) of n views, in one call."""
        given, count = self._conditions, len(views)
        sample = guidance.rows(x, self._rows)
        times = np.full((len(sample), 1), timestep, np.float32)
        hidden, added = np.repeat(given.hidden, count, axis=0), self._added(count)
        await self._steps.call()
        if given.masked is not None and self._networks.inpaint_unet is not None:
            masked = guidance.rows(np.concatenate([view.cut(given.masked) for view in views]), self._rows)
            name = self._table.inpaint_unet
            output = await self._networks.inpaint_unet(np.concatenate([sample, masked], axis=1), times, hidden, added)
        elif self._networks.controlled_unet is not None and (given.control or given.likeness is not None):
            name, control, image = self._table.controlled_unet, self._control(views), self._likeness(count)
            output = await self._networks.controlled_unet(sample, times, hidden, control, image, added)
        else:
            assert self._networks.unet is not None  # noqa: S101  # encoding._check_networks
            name = self._table.unet
            output = await self._networks.unet(sample, times, hidden, added)
        expect(str(name), output, sample.shape)
        patch = self._table.patch if self._table.guidance_norm else 0
        return guidance.guide(output, self._guidance_scale, self._rows, patch)

    def _control(self, views: Sequence[View]) -> ControlRows | None:
        control = self._conditions.control
        if control is None:
            return None
        kinds = len(self._table.control_kinds)
        image = np.stack([view.cut(control.image, self._table.latent_factor) for view in views])
        every = np.zeros((len(views), kinds, *image.shape[1:]), np.float32)
        every[:, control.kind] = image
        scale = np.zeros((self._rows * len(views), kinds), np.float32)
        scale[:, control.kind] = control.scale
        pictures = every.reshape(len(views), -1, *image.shape[2:])
        return ControlRows(guidance.rows(pictures, self._rows), scale)

    def _added(self, count: int) -> AddedRows | None:
        given = self._conditions.added or AddedRows()
        tensors = {name: np.repeat(rows, count, axis=0) for name, rows in given.tensors.items()}
        if self._table.guidance == "embedding":
            tensors["guidance"] = np.full((self._rows * count, 1), self._guidance_scale, np.float32)
        return AddedRows(**tensors) if tensors else None

    def _likeness(self, count: int) -> ImageRows | None:
        given = self._conditions
        if given.likeness is None:
            return None
        embeds = np.repeat(given.likeness, count, axis=0)
        return ImageRows(embeds, np.full((len(embeds), 1), given.likeness_scale, np.float32))
