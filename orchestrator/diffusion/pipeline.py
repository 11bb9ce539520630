"""The one pipeline: encode the prompt, prepare latents, denoise, decode. Every task calls it, with this one loop."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import numpy as np

from orchestrator import metrics
from orchestrator.diffusion import guidance, latents
from orchestrator.diffusion.latents import Pixels, Size
from orchestrator.diffusion.noise import start_noise, step_noise
from orchestrator.diffusion.samplers import SAMPLERS, Latents, sample
from orchestrator.diffusion.schedules import NoiseSchedule, Prediction, Spacing
from orchestrator.diffusion.tokenizer import Tokenizer, Tokens
from orchestrator.errors import EngineFaultError, FamilyConfigError, InvalidRequestError, Violation
from orchestrator.models.contracts import Floats, Ids, Networks
from orchestrator.models.families import Family
from orchestrator.params import SamplerName


class Stage(StrEnum):
    """Stages of a request, in order."""

    PREPARE = "prepare"
    ENCODE = "encode"
    DENOISE = "denoise"
    DECODE = "decode"
    FINISH = "finish"


@dataclass(frozen=True, slots=True)
class StepDone:
    """A step of a stage is done. `x0` is the predicted picture's latents after a denoising step, else None."""

    stage: Stage
    step: int
    total: int
    x0: Latents | None = None


Listener = Callable[[StepDone], Awaitable[None]]
"""Told of every step. What it raises ends the pipeline before anything more is asked of a network."""


@dataclass(frozen=True, slots=True)
class StageTime:
    """Wall time of a stage, seconds, and the network calls in it."""

    stage: Stage
    seconds: float
    calls: int


@dataclass(slots=True)
class Calls:
    """Counts the network calls of a stage that still runs."""

    count: int = 0


@dataclass(slots=True)
class Timer:
    """Collects the stages of one request."""

    family: str
    stages: list[StageTime] = field(default_factory=list)

    @asynccontextmanager
    async def stage(self, stage: Stage, calls: int = 0) -> AsyncIterator[Calls]:
        """Time what runs inside, which may count further calls; a stage that fails is not noted."""
        start, counter = time.perf_counter(), Calls(calls)
        yield counter
        seconds = time.perf_counter() - start
        self.stages.append(StageTime(stage, seconds, counter.count))
        metrics.STAGE.labels(self.family, stage.value).observe(seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineInputs:
    """What the pipeline needs to know; nothing here is optional or out of range any more.

    Attributes:
        prompt_ids: (1, L), of the prompt in its template.
        negative_ids: (1, L), of the negative prompt.
        size: width and height at which the networks run, pixels, one of the family's buckets.
        seed: of all randomness.
        sampler: by name.
        steps: network evaluations.
        guidance_scale: 1 for none.
    """

    prompt_ids: Ids
    negative_ids: Ids
    size: Size
    seed: int
    sampler: SamplerName
    steps: int
    guidance_scale: float


class Pipeline:
    """A family's pipeline: its tokenizer and noise schedule. Holds no state of any request."""

    def __init__(self, family: Family, folder: Path) -> None:
        """Load the tokenizer, whose path is relative to `folder`.

        Raises:
            FamilyConfigError: the tokenizer does not load, or the default sampler cannot walk the default steps.
        """
        table, schedule = family.networks, family.networks.schedule
        self._family, self._table = family, table
        self._schedule = NoiseSchedule.scaled_linear(
            Prediction(schedule.prediction_type),
            beta_start=schedule.beta_start,
            beta_end=schedule.beta_end,
            train_steps=schedule.train_steps,
            spacing=Spacing(schedule.timestep_spacing),
            steps_offset=schedule.steps_offset,
            set_alpha_to_one=schedule.set_alpha_to_one,
        )
        try:
            self._tokenizer = Tokenizer(folder / table.tokenizer, table.text_length, table.pad_id)
        except ValueError as error:
            raise FamilyConfigError(f"[networks of {family.name}] tokenizer: {error}") from error
        try:
            self.check_steps(family.default_sampler, family.default_steps)
        except InvalidRequestError as error:
            raise FamilyConfigError(f"[families.{family.name}] default_steps: {error}") from error

    def check_steps(self, sampler: SamplerName, steps: int) -> None:
        """Raise InvalidRequestError if the sampler cannot walk that many steps."""
        most = min(SAMPLERS[sampler].max_steps, self._schedule.max_steps)
        if steps > most:
            raise InvalidRequestError(Violation("steps", f"sampler {sampler} takes at most {most} steps, not {steps}"))

    def tokenize(self, text: str) -> Tokens:
        """Token ids of a text, cut to the text encoder's length. Takes tens of milliseconds for the longest texts."""
        return self._tokenizer.encode(text)

    def preview(self, x0: Latents) -> Pixels | None:
        """A small picture of latents, one pixel for each; None if the family has no map for it."""
        table = self._table.preview
        if table is None:
            return None
        return latents.preview(x0, np.asarray(table.factors, np.float32), np.asarray(table.bias, np.float32))

    async def run(self, networks: Networks, inputs: PipelineInputs, listener: Listener, timer: Timer) -> Pixels:
        """Make a picture of inputs.size: uint8 (height, width, 3) RGB.

        Raises:
            EngineUnavailableError, EngineFaultError: from the networks; a wrong shape and a picture that is not finite
                are faults too.
            Whatever the listener raises.
        """
        rows = 2 if guidance.needs_unconditional(inputs.guidance_scale) else 1
        async with timer.stage(Stage.ENCODE, calls=1):
            # Rows [negative, positive], or [positive] without guidance.
            ids = np.concatenate((inputs.negative_ids, inputs.prompt_ids)[-rows:])
            hidden = await networks.text_encoder(ids)
            _expect(self._table.text_encoder, hidden.shape[:-1], ids.shape)
        await listener(StepDone(Stage.ENCODE, 1, 1))
        async with timer.stage(Stage.DENOISE, calls=inputs.steps):
            x = await self._denoise(networks, inputs, hidden, listener)
        async with timer.stage(Stage.DECODE, calls=1):
            pixels = await self._decode(networks, x)
        await listener(StepDone(Stage.DECODE, 1, 1))
        return pixels

    async def _denoise(self, networks: Networks, inputs: PipelineInputs, hidden: Floats, listener: Listener) -> Latents:
        sampler, rows = SAMPLERS[inputs.sampler], len(hidden)
        plan = sampler.plan(self._schedule, inputs.steps)
        shape = latents.latent_shape(inputs.size, self._table.latent_channels, self._table.latent_factor)
        seconds = metrics.STEP.labels(self._family.name)
        steps = metrics.STEPS.labels(self._family.name, inputs.sampler.value)

        async def network(x: Latents, timestep: float) -> Latents:
            with seconds.time():
                times = np.full((rows, 1), timestep, np.float32)
                output = await networks.unet(guidance.rows(x, rows), times, hidden)
            _expect(self._table.unet, output.shape, (rows, *shape[1:]))
            steps.inc()
            return guidance.guide(output, inputs.guidance_scale)

        return await sample(
            sampler,
            network,
            start_noise(inputs.seed, shape),
            plan,
            noise=lambda step: step_noise(inputs.seed, step, shape),
            on_step=lambda step, x0: listener(StepDone(Stage.DENOISE, step, plan.steps, x0)),
        )

    async def _decode(self, networks: Networks, x: Latents) -> Pixels:
        table = self._table
        image = await networks.vae_decoder(latents.unscale(x, table.scaling_factor, table.shift_factor))
        height, width = (side * table.latent_factor for side in x.shape[2:])
        _expect(table.vae_decoder, image.shape, (1, 3, height, width))
        try:
            return await asyncio.to_thread(latents.to_pixels, image)
        except FloatingPointError as error:
            raise EngineFaultError(f"model {table.vae_decoder}: {error}") from error


def _expect(model: str, shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    """Hold an answer to its contract: numpy would broadcast a wrong one, and resizing hide it, into some picture."""
    if shape != expected:
        raise EngineFaultError(f"model {model} answered a tensor of shape {shape}, not {expected}")
