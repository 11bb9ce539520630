"""What a UNet is given while it draws: inputs to calibrate int8 and fp8 with, recorded from runs of the real pipeline.

The pipeline (orchestrator/diffusion) runs over the family's own graphs, by OpenVINO in float32: a few prompts, all
noise levels from the first step to the last, both guidance rows, a square and a wide picture. Nothing is fetched. What
there is no network for in such a run is made up: drawings for ControlNets, tokens of N(0, 1) for image prompts, and for
a UNet that inpaints latents of a picture that was never encoded.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engines.rows import Tensors
from model_tools.export.in_process import InProcess
from orchestrator.arrays import Floats
from orchestrator.diffusion.inputs import Control, ImagePrompt, PipelineInputs, Start
from orchestrator.diffusion.latents import Size
from orchestrator.diffusion.pipeline import Pipeline
from orchestrator.diffusion.stages import StepDone, Timer
from orchestrator.models.contracts import Networks
from orchestrator.models.families import Family
from orchestrator.models.tables import NetworkTable

PROMPTS = (
    ("a red apple on a wooden table", ""),
    ("portrait of an old fisherman, snow in the background", "blurry, text"),
    ("a castle on a hill at sunset", ""),
    ("two cats asleep beside a blue vase of yellow flowers", "ugly, cropped"),  # codespell:ignore beside
)
"""Prompts and negative prompts, one run each."""
MOST_STEPS = 8
CONTROL_SCALE, LIKENESS_SCALE = 1.0, 0.6


@dataclass(frozen=True, slots=True)
class Recorder:
    """Records the inputs of a family's UNets.

    Attributes:
        family: as families.toml has it.
        folder: what its tokenizers' paths are relative to.
        text_encoders: graphs of one, or of SDXL's two.
    """

    family: Family
    folder: Path
    text_encoders: tuple[Path, ...]

    def __call__(self, graph: Path) -> list[Tensors]:
        """The inputs of every step of a few runs with this float graph of a UNet, by name.

        Raises:
            NetworkError: OpenVINO cannot open a graph.
            EngineFaultError: a picture is not finite.
            FamilyConfigError: a tokenizer does not load.
        """
        record: list[Tensors] = []
        unet = InProcess(graph, record=record)
        pipeline = Pipeline(self.family, self.folder)
        networks = self._networks(unet)
        for seed in range(len(PROMPTS)):
            inputs = self._inputs(pipeline, unet, seed)
            asyncio.run(pipeline.run(networks, inputs, hear_nothing, Timer(self.family.name)))
        return record

    def _networks(self, unet: InProcess) -> Networks:
        encoders = [InProcess(path) for path in self.text_encoders]
        table, made_up = self.family.networks, MadeUp(self.family.networks, unet.sizes.get("image_embeds", []))
        return Networks(
            text_encoder=encoders[0].text,
            text_encoder_2=encoders[1].pooled_text if len(encoders) > 1 else None,
            unet=unet.unet,
            controlled_unet=unet.controlled_unet,
            inpaint_unet=unet.unet if _fills(unet, table) else None,
            vae_encoder=made_up.encode,
            vae_decoder=made_up.decode,
            image_encoder=made_up,
        )

    def _inputs(self, pipeline: Pipeline, unet: InProcess, seed: int) -> PipelineInputs:
        """One run: with all that the graph takes."""
        family, table = self.family, self.family.networks
        prompt, negative = PROMPTS[seed]
        wide = next((size for size in table.aspect_sizes if size[0] > size[1]), table.aspect_sizes[0])
        size = wide if seed == 1 else table.aspect_sizes[0]
        control = likeness = start = mask = None
        if "control_image" in unet.sizes:
            control = Control(drawing(size, seed), CONTROL_SCALE, seed % len(table.control_kinds))
        if "image_embeds" in unet.sizes:
            likeness = ImagePrompt(np.zeros((8, 8, 3), np.uint8), LIKENESS_SCALE)
        if _fills(unet, table):
            start = Start(np.zeros((*size[::-1], 3), np.uint8), 1.0)
            mask = np.ones(size[::-1], np.float32)
            mask[:, : size[0] // 2] = seed % 2  # all of it, or one half
        return PipelineInputs(
            prompt_ids=pipeline.tokenize(family.full_prompt(prompt)).ids,
            negative_ids=pipeline.tokenize(negative).ids,
            size=size,
            seed=seed,
            sampler=family.default_sampler,
            steps=min(family.default_steps, MOST_STEPS),
            guidance_scale=family.default_guidance_scale,
            control=control,
            image_prompt=likeness,
            start=start,
            mask=mask,
        )


@dataclass(frozen=True, slots=True)
class MadeUp:
    """Networks that stand in for those that a recording lacks.

    Attributes:
        table: of the family.
        tokens: number and width of an image prompt's; empty without.
    """

    table: NetworkTable
    tokens: list[int]
    side: int = 8

    async def __call__(self, image: Floats) -> tuple[Floats, Floats]:
        """Tokens of N(0, 1), as IP-Adapters' last norm leaves them, and zeros."""
        tokens = np.random.default_rng(len(image)).standard_normal((len(image), *self.tokens), np.float32)
        return tokens, np.zeros_like(tokens)

    async def encode(self, image: Floats) -> Floats:
        """Latents with the variance that scaling makes 1: blobs of 4 latents."""
        factor, table = 4 * self.table.latent_factor, self.table
        height, width = (-(-side // factor) for side in image.shape[2:])
        blobs = np.random.default_rng(0).standard_normal((len(image), table.latent_channels, height, width), np.float32)
        latents = blobs.repeat(4, axis=2).repeat(4, axis=3) / table.scaling_factor + table.shift_factor
        sides = [side // table.latent_factor for side in image.shape[2:]]
        return np.ascontiguousarray(latents[:, :, : sides[0], : sides[1]], np.float32)

    async def decode(self, latents: Floats) -> Floats:
        """Grey: its content does not matter."""
        sides = [self.table.latent_factor * side for side in latents.shape[2:]]
        return np.zeros((len(latents), 3, *sides), np.float32)


def drawing(size: Size, seed: int) -> Floats:
    """White outlines of a dozen boxes on black: float32 (3, height, width) in [0, 1]."""
    random, (width, height) = np.random.default_rng(seed), size
    picture = np.zeros((3, height, width), np.float32)
    for _ in range(12):
        top, bottom = np.sort(random.integers(0, height, 2))
        left, right = np.sort(random.integers(0, width, 2))
        picture[:, [top, bottom], left : right + 1] = 1
        picture[:, top : bottom + 1, [left, right]] = 1
    return picture


def _fills(unet: InProcess, table: NetworkTable) -> bool:
    """Whether the UNet was made to inpaint: latents, a mask, masked latents."""
    return unet.sizes["sample"][0] == 2 * table.latent_channels + 1


async def hear_nothing(_: StepDone) -> None:
    """Listen to the pipeline."""
