"""The network of one request's steps: which UNet, what steers it, guidance, and tiles where the picture is large."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from orchestrator.arrays import Floats
from orchestrator.diffusion import guidance, tiles
from orchestrator.diffusion.contract_checks import expect
from orchestrator.diffusion.guider import Guider
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

    def last(self, rows: int) -> "Conditions":
        """Those of the last guidance rows: of one, with the prompt."""
        if rows == len(self.hidden):
            return self
        added = self.added and AddedRows(**{name: array[-rows:] for name, array in self.added.tensors.items()})
        likeness = None if self.likeness is None else self.likeness[-rows:]
        return replace(self, hidden=self.hidden[-rows:], likeness=likeness, added=added)


@dataclass(frozen=True, slots=True)
class _Fixed:
    """What the network gets in addition to latents and timestep, in the rows of a call: the same in each step."""

    hidden: Floats
    added: AddedRows | None
    masked: Floats | None
    control: ControlRows | None
    image: ImageRows | None


class Denoiser:
    """A sampling.Network over a family's UNets. Holds no state of a step but its guider's, and what all steps share."""

    def __init__(  # what one walk needs
        self,
        networks: Networks,
        table: NetworkTable,
        conditions: Conditions,
        guider: Guider,
        guidance_scale: float,
        steps: Steps,
    ) -> None:
        self._networks, self._table, self._conditions = networks, table, conditions
        self._guider, self._guidance_scale, self._steps = guider, guidance_scale, steps
        self._fixed: dict[int, _Fixed] = {}  # by guidance rows, of a picture that the network sees whole

    async def __call__(self, x: Latents, timestep: float, step: int) -> Latents:
        """(1, C, h, w), a timestep and a step of the walk to the prediction after guidance.

        Latents larger than a tile are seen in overlapping views, as many of them in a call as its rows allow.
        """
        rows = self._guider.rows(step)
        if rows == 0:
            return np.zeros_like(x)
        height, width = x.shape[2:]
        views = tiles.views(height, width, *self._tile(height, width))
        if len(views) == 1:
            if rows not in self._fixed:
                self._fixed[rows] = self._gather(views, rows)
            return self._guider(await self._predict(x, self._fixed[rows], timestep, rows))
        average = tiles.Average((rows, *x.shape[1:]))
        for batch in tiles.batches(views, max(1, self._networks.max_rows // rows)):
            cut = np.concatenate([view.cut(x) for view in batch])
            answers = await self._predict(cut, self._gather(batch, rows), timestep, rows)
            for number, view in enumerate(batch):
                average.add(view, answers[number :: len(batch)])
        return self._guider(average.result())

    def _tile(self, height: int, width: int) -> tuple[int, int]:
        """Height and width at which the UNet sees latents: theirs, if that is an aspect size, or a tile's."""
        factor = self._table.latent_factor
        if (width * factor, height * factor) in self._table.aspect_sizes:
            return height, width
        tile_width, tile_height = self._table.tile_size
        return tile_height // factor, tile_width // factor

    def _gather(self, views: Sequence[View], rows: int) -> _Fixed:
        """What is fixed, for a call of that many guidance rows of some views."""
        given, count = self._conditions.last(rows), len(views)
        is_steered = given.control is not None or given.likeness is not None
        masked = None
        if given.masked is not None:
            masked = guidance.rows(np.concatenate([view.cut(given.masked) for view in views]), rows)
        return _Fixed(
            given.hidden if count == 1 else np.repeat(given.hidden, count, axis=0),
            self._added(given, count),
            masked,
            self._control(given, views) if is_steered else None,
            self._likeness(given, count) if is_steered else None,
        )

    async def _predict(self, x: Latents, fixed: _Fixed, timestep: float, rows: int) -> Latents:
        """The predictions for the latents (n, C, h, w) of n views in one call: (rows·n, C, h, w)."""
        sample = guidance.rows(x, rows)
        times = np.full((len(sample), 1), timestep, np.float32)
        hidden, added = fixed.hidden, fixed.added
        await self._steps.call()
        if fixed.masked is not None and self._networks.inpaint_unet is not None:
            name = self._table.inpaint_unet
            filled = np.concatenate([sample, fixed.masked], axis=1)
            output = await self._networks.inpaint_unet(filled, times, hidden, added)
        elif self._networks.controlled_unet is not None and (fixed.control or fixed.image):
            name = self._table.controlled_unet
            output = await self._networks.controlled_unet(sample, times, hidden, fixed.control, fixed.image, added)
        else:
            assert self._networks.unet is not None  # noqa: S101  # encoding._check_networks
            name = self._table.unet
            output = await self._networks.unet(sample, times, hidden, added)
        expect(str(name), output, sample.shape)
        return output

    def _control(self, given: Conditions, views: Sequence[View]) -> ControlRows | None:
        control, rows = given.control, len(given.hidden)
        if control is None:
            return None
        kinds = len(self._table.control_kinds)
        image = np.stack([view.cut(control.image, self._table.latent_factor) for view in views])
        every = np.zeros((len(views), kinds, *image.shape[1:]), np.float32)
        every[:, control.kind] = image
        scale = np.zeros((rows * len(views), kinds), np.float32)
        scale[:, control.kind] = control.scale
        pictures = every.reshape(len(views), -1, *image.shape[2:])
        return ControlRows(guidance.rows(pictures, rows), scale)

    def _added(self, given: Conditions, count: int) -> AddedRows | None:
        added = given.added or AddedRows()
        tensors = {name: np.repeat(rows, count, axis=0) for name, rows in added.tensors.items()}
        if self._table.guidance == "embedding":
            tensors["guidance"] = np.full((len(given.hidden) * count, 1), self._guidance_scale, np.float32)
        return AddedRows(**tensors) if tensors else None

    def _likeness(self, given: Conditions, count: int) -> ImageRows | None:
        if given.likeness is None:
            return None
        embeds = np.repeat(given.likeness, count, axis=0)
        return ImageRows(embeds, np.full((len(embeds), 1), given.likeness_scale, np.float32))
