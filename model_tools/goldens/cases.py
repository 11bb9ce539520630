"""What the goldens are made of: shared by the tool that makes them (goldens.py) and the tests that hold us to them.

Needs numpy alone, so that tests can import it without torch.
"""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TypedDict

import numpy as np
import numpy.typing as npt

GOLDEN = Path(__file__).parents[2] / "tests" / "golden"
TINY = Path(__file__).parents[2] / ".bench" / "tiny"
"""The tiny model in diffusers' layout, git-ignored."""
TRAJECTORIES = GOLDEN / "trajectories.npz"
GUIDED = GOLDEN / "guidance.npz"
FLOW_TRAJECTORIES = GOLDEN / "flow.npz"
TIMESTEPS = GOLDEN / "timesteps.npz"
PICTURES = GOLDEN / "pictures.npz"
TOKENS = GOLDEN / "tokens.json"
TOKENIZER = GOLDEN / "tokenizer.json"
MANIFEST = GOLDEN / "manifest.json"

SEED = 20_261_124
TRAJECTORY_SHAPE = (1, 4, 2, 3)
"""Small: every element goes its own way, and some 200 trajectories are committed."""

PICTURE_SIZE = (96, 64)
"""(width, height): not square, so that swapped axes show."""
PICTURE_STEPS = 8
GUIDANCE_SCALE = 7.5
PROMPT = "a red lighthouse on a cliff, stormy sea"
NEGATIVE_PROMPT = "blurry"

TEXT_LENGTH = 77
"""Token ids that the tiny model's text encoder takes, as Stable Diffusion's."""
BERT_LENGTH = 48
"""Those that the starter's takes."""

TEXTS = [
    "",
    " ",
    PROMPT,
    "It's THE Green house, isn't it? We'll see: 12345 houses!!! ...",
    "tabs\tand\nnewlines\r\n\x0b everywhere  ",
    "NUL \x00 and \x07 \x1b[31m control characters \x7f\x85",
    "Ünïcödé ÀÉÎ ﬃ ½ İstanbul ß ǅ e\u0301 \u212b",
    "赤い灯台 红色灯塔 등대",
    "منارة حمراء على جرف \u202eמגדלור\u202c",
    "\U0001f3e0\U0001f468\u200d\U0001f469\u200d\U0001f467 \u2764\ufe0f \U0001f1f3\U0001f1f1",
    "\ufeffzero\u200bwidth\u00a0spaces\u3000\ufffd \ue000 \U0010ffff",
    "<|startoftext|> house <|endoftext|> [CLS] red [SEP] [PAD] [MASK] [UNK]",
    "x" * 101 + " " + "red " * 75,
    "red lighthouse, " * 700,
    "a" * 12_000,
    "\U0001f3e0" * 12_000,
]
"""What prompts are made of, and what they had better not be."""

FLOW_STRENGTHS = ((2, 1.0), (2, 0.5), (4, 0.3), (8, 0.45), (25, 0.65), (10, 0.7))
SIZE_SHIFTS = ("size", "size_linear", "size_and_steps")
LATER_SAMPLERS = ("unipc", "dpmpp_sde", "dpmpp_2m_sde", "ddpm", "tcd")
SAMPLERS = ("ddim", "euler", "euler_ancestral", "dpmpp_2m", "dpmpp_2m_karras", "lcm", "heun", *LATER_SAMPLERS)
PREDICTIONS = ("epsilon", "v_prediction")
SPACINGS = ("leading", "trailing")
LINSPACE_SAMPLERS = ("euler", "euler_ancestral", "dpmpp_2m")
"""Held to diffusers with the spacing "linspace", too. DDIM's scheduler takes strides there that miss its timesteps."""
ONE_SPACING = ("dpmpp_2m_karras", "lcm", "tcd")
"""Samplers whose timesteps do not depend on the spacing."""

PICTURE_SAMPLERS = SAMPLERS[:6]
"""Those whose whole pictures are stored; of the later ones the trajectories are the measure."""


class ScheduleSettings(TypedDict):
    """Settings that go with a spacing."""

    steps_offset: int
    set_alpha_to_one: bool


@dataclass(frozen=True)
class Case:
    """One sampler, set up one way."""

    sampler: str
    prediction: str
    spacing: str
    steps: int
    reference: str = ""
    """Which of diffusers' schedulers to compare with, where it is not the sampler's own."""
    strength: float | None = None
    """Of a walk that starts from latents of a picture, `start_latents`; None where it starts from noise."""

    @property
    def name(self) -> str:
        """Key of this case in the stored files."""
        strength = "" if self.strength is None else f"-{self.strength}"
        return f"{self.sampler}-{self.prediction}-{self.spacing}-{self.steps}{strength}"

    @property
    def schedule(self) -> ScheduleSettings:
        """What goes with leading spacing in Stable Diffusion 1.x's scheduler_config.json, and nothing otherwise."""
        leading = self.spacing == "leading"
        return {"steps_offset": int(leading), "set_alpha_to_one": not leading}


def cases(*steps: int) -> list[Case]:
    """Every sampler, prediction and spacing that differ, at each number of steps."""
    every = (Case(*setting) for setting in product(SAMPLERS, PREDICTIONS, SPACINGS, steps))
    return [case for case in every if case.sampler not in ONE_SPACING or case.spacing == "trailing"]


FEW_STEPS = ((2, None), (4, None), (2, 1.0), (2, 0.5), (4, 0.3), (4, 0.8), (8, 0.45))
"""Steps of distilled models (LCM, Turbo, Lightning), and strengths of walks that start from a picture."""
FEW_STEP_SAMPLERS = ("ddim", "euler", "euler_ancestral", "lcm", "heun", *LATER_SAMPLERS)
TRAJECTORY_CASES = [
    *cases(1, 8, 25),
    *(Case(*setting) for setting in product(LINSPACE_SAMPLERS, PREDICTIONS, ("linspace",), (1, 2, 8, 25))),
    # Not of 2 steps: the second divides by the smallest level, and float32 alone is 1e-4 off there.
    *(Case(*setting) for setting in product(("heun",), PREDICTIONS, ("linspace",), (1, 8, 25))),
    *(
        Case(sampler, "epsilon", "trailing", steps, strength=strength)
        for sampler in FEW_STEP_SAMPLERS
        for steps, strength in FEW_STEPS
    ),
    # Where steps does not divide 1000, DDIMScheduler drifts from its own trailing timesteps; DDIM is DPM-Solver++ of
    # first order (Lu et al. 2022, section 3), and that scheduler of diffusers' keeps to the timesteps.
    *(Case("ddim", prediction, "trailing", 30, "dpm_first_order") for prediction in PREDICTIONS),
]


@dataclass(frozen=True)
class FlowCase:
    """One sampler on one schedule of flow matching; fields as of orchestrator.diffusion.flow.FlowSchedule."""

    sampler: str
    steps: int
    shift_by: str = "fixed"
    shift: float = 1.0
    tokens: int = 256
    """Of the picture: 16 pixels along a side each, as FLUX has them."""
    spacing: str = "trailing"
    shift_terminal: float | None = None
    strength: float | None = None

    @property
    def name(self) -> str:
        """Key of this case in the stored file."""
        parts = (self.sampler, self.steps, self.shift_by, self.shift, self.tokens, self.spacing)
        return "-".join(map(str, (*parts, self.shift_terminal, self.strength)))


FLOW_STEPS = (1, 2, 8, 25)
FLOW_CASES = [
    *(FlowCase("euler", steps, shift=shift) for steps in FLOW_STEPS for shift in (1.0, 3.0)),
    *(FlowCase("euler", steps, shift=3.0, spacing="linspace") for steps in FLOW_STEPS),
    *(FlowCase("euler", 8, kind, tokens=tokens) for kind in SIZE_SHIFTS for tokens in (64, 1024, 4096, 6400)),
    FlowCase("euler", 8, "size", tokens=1024, spacing="linspace"),
    FlowCase("euler", 50, "size_and_steps", tokens=4096),
    FlowCase("euler", 20, "size", tokens=1024, shift_terminal=0.02),
    *(FlowCase("euler", steps, shift=3.0, strength=strength) for steps, strength in FLOW_STRENGTHS),
    *(FlowCase("heun", steps, shift=shift, spacing="linspace") for steps in FLOW_STEPS for shift in (1.0, 3.0)),
    *(FlowCase("dpmpp_2m", steps, shift=shift) for steps in FLOW_STEPS for shift in (1.0, 3.0)),
    FlowCase("dpmpp_2m", 8, "size", tokens=1024),
    FlowCase("dpmpp_2m", 8, shift=3.0, strength=0.55),
    *(FlowCase("unipc", steps, shift=shift) for steps in FLOW_STEPS for shift in (1.0, 3.0)),
    FlowCase("unipc", 8, "size", tokens=1024),
    *(FlowCase("dpmpp_2m_sde", steps, shift=shift) for steps in FLOW_STEPS for shift in (1.0, 3.0)),
    *(FlowCase("lcm", steps, shift=3.0) for steps in (1, 4, 8)),
]
TIMESTEP_CASES = [
    *(case for case in cases(1) if case.sampler not in ("heun", "dpmpp_sde")),
    *(Case(sampler, "epsilon", "linspace", 1) for sampler in ("ddim", "dpmpp_2m")),
]
"""Whose timesteps are compared at every number of steps; Euler's are no whole numbers with linspace."""
PICTURE_CASES = [case for case in cases(PICTURE_STEPS) if case.sampler in PICTURE_SAMPLERS]


@dataclass(frozen=True)
class GuidanceCase:
    """One method of guidance; fields as of orchestrator.params.Guidance."""

    method: str
    scale: float = 7.5
    rescale: float = 0.0
    start: float = 0.0
    end: float = 1.0
    eta: float = 0.0
    norm_threshold: float = 15.0
    momentum: float = -0.5

    @property
    def name(self) -> str:
        """Key of this case in the stored file."""
        return "-".join(map(str, dataclasses.astuple(self)))


GUIDANCE_CASES = [
    GuidanceCase("cfg"),
    GuidanceCase("cfg", rescale=0.7),
    GuidanceCase("cfg", rescale=1.0, scale=3.0),
    GuidanceCase("cfg", start=0.1, end=0.3),
    GuidanceCase("apg"),
    GuidanceCase("apg", eta=1.0, norm_threshold=0.0, momentum=0.0),
    GuidanceCase("apg", eta=0.3, norm_threshold=2.5, momentum=-0.75, rescale=0.5),
    GuidanceCase("cfg_zero_star"),
    GuidanceCase("cfg_zero_star", scale=3.0, rescale=0.5, end=0.2),
]
GUIDANCE_STEPS = 10


def guidance_predictions() -> npt.NDArray[np.float32]:
    """[without, with] the prompt at the first four steps of GUIDANCE_STEPS: (4, 2, 4, 6, 5)."""
    places = np.arange(4 * 2 * 4 * 6 * 5, dtype=np.float32).reshape(4, 2, 4, 6, 5)
    return np.asarray(np.sin(places * places / 7) + 0.3 * np.cos(places), np.float32)


def graph_digests() -> dict[str, str]:
    """SHA-256 of each of the tiny model's graphs, by the name of its Triton model."""
    graphs = sorted((GOLDEN / "model_repository").glob("*/1/graph.onnx"))
    return {path.parts[-3]: hashlib.sha256(path.read_bytes()).hexdigest() for path in graphs}


def start_latents() -> npt.NDArray[np.float32]:
    """Latents of a picture, float32 of TRAJECTORY_SHAPE, for walks that start from one."""
    places = np.arange(np.prod(TRAJECTORY_SHAPE), dtype=np.float32).reshape(TRAJECTORY_SHAPE)
    latents: npt.NDArray[np.float32] = np.sin(places)
    return latents


def closed_form(x: npt.NDArray[np.float32], timestep: float) -> npt.NDArray[np.float32]:
    """A network in one line: bounded, non-linear, different at each timestep and element; float32 like x."""
    phase = np.arange(x.size, dtype=np.float32).reshape(x.shape)
    output: npt.NDArray[np.float32] = 0.7 * x + 0.3 * np.sin(2 * x + phase + np.float32(timestep / 100))
    return output
