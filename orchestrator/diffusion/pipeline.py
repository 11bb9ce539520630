"""The one pipeline: encode what is given, prepare latents, denoise, decode. Every task calls it, with this one loop."""

import dataclasses
from pathlib import Path

import numpy as np

from orchestrator import metrics
from orchestrator.arrays import Pixels
from orchestrator.diffusion import latents, tiles
from orchestrator.diffusion.denoiser import Conditions, Denoiser
from orchestrator.diffusion.encoding import encode
from orchestrator.diffusion.flow import FlowSchedule, FlowSpacing, Shift
from orchestrator.diffusion.guider import Guider
from orchestrator.diffusion.inputs import PipelineInputs
from orchestrator.diffusion.joint_prompts import JointPrompts
from orchestrator.diffusion.latents import Size
from orchestrator.diffusion.noise import start_noise, step_noise
from orchestrator.diffusion.prompts import Prompts
from orchestrator.diffusion.samplers import SAMPLERS
from orchestrator.diffusion.sampling import Latents, Origin, sample
from orchestrator.diffusion.schedules import NoiseSchedule, Prediction, SamplingPath, Spacing, shorten
from orchestrator.diffusion.skipping import StepSkipper
from orchestrator.diffusion.stages import Stage, StepListener, Steps, Timer
from orchestrator.diffusion.tokenizer import Tokens
from orchestrator.diffusion.vae import Vae
from orchestrator.errors import FamilyConfigError, InvalidRequestError, UnsupportedTaskError, Violation
from orchestrator.models.contracts import Networks
from orchestrator.models.families import Family
from orchestrator.models.tables import FlowTable, NetworkTable, ScheduleTable
from orchestrator.params import Guidance, GuidanceParams, SamplerName


def schedule_of(table: ScheduleTable | FlowTable) -> NoiseSchedule | FlowSchedule:
    """The schedule that a family's table describes."""
    if isinstance(table, FlowTable):
        return FlowSchedule(
            shift_by=Shift(table.shift_by),
            shift=table.shift,
            base_shift=table.base_shift,
            max_shift=table.max_shift,
            base_image_seq_len=table.base_image_seq_len,
            max_image_seq_len=table.max_image_seq_len,
            shift_terminal=table.shift_terminal,
            spacing=FlowSpacing(table.timestep_spacing),
            train_steps=table.train_steps,
        )
    return NoiseSchedule.scaled_linear(
        Prediction(table.prediction_type),
        beta_start=table.beta_start,
        beta_end=table.beta_end,
        train_steps=table.train_steps,
        spacing=Spacing(table.timestep_spacing),
        steps_offset=table.steps_offset,
        set_alpha_to_one=table.set_alpha_to_one,
    )


def samplers_of(table: NetworkTable) -> tuple[SamplerName, ...]:
    """Those that walk the schedule of these networks."""
    return tuple(name for name in SamplerName if not table.flows or SAMPLERS[name].flow_path is not None)


class Pipeline:
    """A family's pipeline: its tokenizers and noise schedule. Holds no state of any request."""

    def __init__(self, family: Family, folder: Path) -> None:
        """Load the tokenizers, whose paths are relative to `folder`.

        Raises:
            FamilyConfigError: a tokenizer does not load, or the default sampler cannot walk the default steps.
        """
        table = family.networks
        self._family, self._table, self._schedule = family, table, schedule_of(table.schedule)
        try:
            self._prompts = JointPrompts(table, folder) if table.texts else Prompts(table, folder)
        except ValueError as error:
            raise FamilyConfigError(f"[networks of {family.name}] tokenizer: {error}") from error
        try:
            self.check_steps(family.default_sampler, family.default_steps)
            self.check_guidance(family.default_guidance_scale)
        except InvalidRequestError as error:
            wrong = error.violations[0].field
            raise FamilyConfigError(f"[families.{family.name}] default_{wrong}: {error}") from error

    @property
    def samplers(self) -> tuple[SamplerName, ...]:
        """Those that walk this family's schedule."""
        return samplers_of(self._table)

    def check_steps(self, sampler: SamplerName, steps: int) -> None:
        """Raise InvalidRequestError if the sampler cannot walk that many steps, or not this family's schedule."""
        if sampler not in self.samplers:
            said = f"{sampler} cannot walk family {self._family.name}, which is of flow matching; use one of "
            raise InvalidRequestError(Violation("sampler", said + ", ".join(self.samplers)))
        most = min(SAMPLERS[sampler].max_steps, self._schedule.max_steps)
        if steps > most:
            raise InvalidRequestError(Violation("steps", f"sampler {sampler} takes at most {most} steps, not {steps}"))

    def guidance(self, asked: GuidanceParams) -> Guidance:
        """What a request asks for, with the family's defaults.

        Raises:
            InvalidRequestError: it ends before it begins, or this family's guidance has no rows to choose.
        """
        given = {name: value for name, value in dataclasses.asdict(asked).items() if value is not None}
        if given and self._table.guidance != "classifier_free":
            said = f"family {self._family.name} takes no settings of guidance but guidance_scale; leave guidance out"
            raise InvalidRequestError(Violation("guidance", said))
        family = self._family
        defaults = {
            "start": family.default_guidance_start,
            "end": family.default_guidance_end,
            "rescale": family.default_guidance_rescale,
            "method": family.default_guidance_method,
        }
        decided = Guidance(**{**defaults, **given})
        if decided.start > decided.end:
            said = f"must be at least guidance.start, {decided.start:g}, not {decided.end:g}"
            raise InvalidRequestError(Violation("guidance.end", said))
        return decided

    def check_guidance(self, guidance_scale: float) -> None:
        """Raise InvalidRequestError if the family takes no such guidance."""
        if self._table.guidance == "none" and guidance_scale > 1:
            said = f"family {self._family.name} was distilled to go without guidance: leave it out, or set 0 to 1"
            raise InvalidRequestError(Violation("guidance_scale", said))

    def tokenize(self, text: str, *, weighted: bool = False) -> Tokens:
        """Token ids (E, n * L) of a text, a row for each text encoder, cut to the family's longest prompt.

        Takes tens of milliseconds for the longest texts.

        Args:
            text: the prompt.
            weighted: whether its brackets are weights.

        Raises:
            ValueError: its weights cannot be read.
        """
        return self._prompts.tokenize(text, weighted=weighted)

    def preview(self, x0: Latents) -> Pixels | None:
        """A small picture of latents, one pixel for each; None if the family has no map for it."""
        table = self._table.preview
        if table is None:
            return None
        return latents.preview(x0, np.asarray(table.factors, np.float32), np.asarray(table.bias, np.float32))

    def views(self, size: Size) -> int:
        """How many tiles the UNet sees a picture of `size` in: 1 for an aspect size, or what one tile covers."""
        if size in self._table.aspect_sizes:
            return 1
        width, height = self._table.tile_size
        return len(tiles.views(size[1], size[0], height, width))

    def work(self, inputs: PipelineInputs) -> float:
        """Pixels that the UNet sees, over all steps, guidance rows and tiles: what a request costs."""
        width, height = self._seen(inputs.size)
        rows = self._rows_walked(self._path(inputs), inputs.steps, inputs.guidance_scale, inputs.guidance)
        return float(width * height * self.views(inputs.size) * rows)

    def steps_walked(self, inputs: PipelineInputs) -> int:
        """Steps that are done: fewer than inputs.steps where a start's strength is below 1."""
        return self._path(inputs).steps

    def rows_walked(
        self, sampler: SamplerName, steps: int, strength: float, guidance_scale: float, guided: Guidance
    ) -> int:
        """Rows that the UNet computes in a walk from a picture, strength in (0, 1]; at 1 those of a whole walk."""
        path = shorten(SAMPLERS[sampler].layout(self._schedule, steps, 1), strength)
        return self._rows_walked(path, steps, guidance_scale, guided)

    def _rows_walked(self, path: SamplingPath, steps: int, guidance_scale: float, guided: Guidance) -> int:
        guider = self._guider(path, steps, guidance_scale, guided)
        return sum(guider.rows(step) * (2 if step < len(path.second) else 1) for step in range(path.steps))

    def _guider(self, path: SamplingPath, steps: int, guidance_scale: float, guided: Guidance) -> Guider:
        table = self._table
        return Guider(
            kind=table.guidance,
            scale=guidance_scale,
            guidance=guided,
            steps=steps,
            first=steps - path.steps,
            flows=table.flows,
            norm_patch=table.patch if table.guidance_norm else 0,
        )

    def _seen(self, size: Size) -> Size:
        """Width and height, in pixels, of what the UNet sees at once."""
        if self.views(size) == 1:
            return size
        return min(size[0], self._table.tile_size[0]), min(size[1], self._table.tile_size[1])

    def _path(self, inputs: PipelineInputs) -> SamplingPath:
        """The walk of a request. What the UNet sees at once, not the whole picture, decides a shift by size."""
        side = self._table.latent_factor * self._table.patch
        width, height = self._seen(inputs.size)
        path = SAMPLERS[inputs.sampler].layout(self._schedule, inputs.steps, (width // side) * (height // side))
        return path if inputs.start is None else shorten(path, inputs.start.strength)

    async def run(self, networks: Networks, inputs: PipelineInputs, listener: StepListener, timer: Timer) -> Pixels:
        """Make a picture of inputs.size: uint8 (height, width, 3) RGB.

        Raises:
            UnsupportedTaskError: the family lacks a network that the inputs need; none was called.
            ValueError: inputs.size is not one at which the UNet runs, or the family has no control kind of that index.
            EngineUnavailableError, EngineFaultError: from the networks; a wrong shape and a picture that is not finite
                are faults too.
            Whatever the listener raises.
        """
        if any(side % self._table.grain for side in inputs.size):
            raise ValueError(f"{inputs.size}: sides are not multiples of {self._table.grain}")
        vae = Vae(self._table, networks.max_rows)
        async with timer.stage(Stage.ENCODE) as calls:
            steps = Steps(listener, Stage.ENCODE, calls)
            conditions, origin = await encode(networks, self._table, self._prompts, inputs, vae, steps)
        await steps.done()
        path = self._path(inputs)
        async with timer.stage(Stage.DENOISE) as calls:
            steps = Steps(listener, Stage.DENOISE, calls, path.steps)
            x = await self._denoise(networks, inputs, conditions, origin, path, steps)
        async with timer.stage(Stage.DECODE) as calls:
            steps = Steps(listener, Stage.DECODE, calls)
            pixels = await vae.decode(networks.vae_decoder, x, steps)
        await steps.done()
        return pixels

    async def reconstruct(self, networks: Networks, picture: Pixels, listener: StepListener, timer: Timer) -> Pixels:
        """What the autoencoder alone outputs for a picture, uint8 (H, W, 3) of a size at which the UNet runs.

        Raises:
            UnsupportedTaskError: the family lacks the encoder.
            EngineUnavailableError, EngineFaultError: from the networks.
            Whatever the listener raises.
        """
        vae, encoder = Vae(self._table, networks.max_rows), networks.vae_encoder
        if encoder is None:
            raise UnsupportedTaskError("this family has no vae encoder, which this task needs")
        async with timer.stage(Stage.ENCODE) as calls:
            latent = await vae.encode(encoder, latents.from_pixels(picture), Steps(listener, Stage.ENCODE, calls))
        async with timer.stage(Stage.DECODE) as calls:
            return await vae.decode(networks.vae_decoder, latent, Steps(listener, Stage.DECODE, calls))

    async def _denoise(  # what one walk needs
        self,
        networks: Networks,
        inputs: PipelineInputs,
        conditions: Conditions,
        origin: Origin | None,
        path: SamplingPath,
        steps: Steps,
    ) -> Latents:
        sampler = SAMPLERS[inputs.sampler]
        shape = latents.latent_shape(inputs.size, self._table.latent_channels, self._table.latent_factor)
        seconds = metrics.STEP.labels(self._family.name)
        count = metrics.STEPS.labels(self._family.name, inputs.sampler.value)
        guider = self._guider(path, inputs.steps, inputs.guidance_scale, inputs.guidance)
        denoiser = Denoiser(networks, self._table, conditions, guider, inputs.guidance_scale, steps)
        skipper = StepSkipper(path, inputs.skip_tolerance, guider.rows) if inputs.skip_tolerance > 0 else None

        async def network(x: Latents, timestep: float, step: int) -> Latents:
            with seconds.time():
                output = await denoiser(x, timestep, step)
            count.inc()
            return output

        latent = await sample(
            sampler,
            network,
            start_noise(inputs.seed, shape),
            path,
            noise=lambda step, second=False: step_noise(inputs.seed, step, shape, second=second),
            on_step=lambda _, x0: steps.done(x0),
            origin=origin,
            skipper=skipper,
        )
        if skipper is not None:
            steps.calls.skipped = skipper.skipped
            metrics.SKIPPED.labels(self._family.name).inc(skipper.skipped)
        return latent
