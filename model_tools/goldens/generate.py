"""Generates the goldens: what diffusers' own schedulers and pipeline answer, for our tests to hold us to.

    .tools/bin/python -m model_tools.goldens.generate trajectories   # needs no network: a closed-form model
    .tools/bin/python -m model_tools.goldens.generate tokens         # transformers' tokenizers
    .tools/bin/python -m model_tools.goldens.generate pictures       # StableDiffusionPipeline on the tiny model

The latter two need what model_tools.goldens.tiny wrote. generate_adapters.py has those of pictures that start from a
picture, generate_flow.py those of flow matching, generate_guidance.py those of guidance.

The noise is ours in both: start latents are handed to diffusers, and its randn_tensor gives our noise of each step.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from typing import Any
from unittest import mock

import diffusers
import numpy as np
import numpy.typing as npt
import torch
from diffusers.schedulers import SchedulerMixin
from transformers import BertTokenizer, CLIPTokenizer

from model_tools.goldens import cases
from model_tools.goldens.cases import SEED, TRAJECTORY_SHAPE, Case
from model_tools.training.starter.networks.text import model_folder
from orchestrator.diffusion.noise import start_noise, step_noise

LARGEST_STEPS = 100
PACKAGES = ("diffusers", "numpy", "torch", "transformers")

SCHEDULERS: dict[str, tuple[type[SchedulerMixin], dict[str, Any]]] = {
    "ddim": (diffusers.DDIMScheduler, {"clip_sample": False}),
    "euler": (diffusers.EulerDiscreteScheduler, {}),
    "euler_ancestral": (diffusers.EulerAncestralDiscreteScheduler, {}),
    "dpmpp_2m": (diffusers.DPMSolverMultistepScheduler, {}),
    "dpmpp_2m_karras": (diffusers.DPMSolverMultistepScheduler, {"use_karras_sigmas": True}),
    "dpm_first_order": (diffusers.DPMSolverMultistepScheduler, {"solver_order": 1}),
    "lcm": (diffusers.LCMScheduler, {}),
    "heun": (diffusers.HeunDiscreteScheduler, {}),
    "unipc": (diffusers.UniPCMultistepScheduler, {}),
    "dpmpp_sde": (diffusers.DPMSolverSDEScheduler, {}),
    "dpmpp_2m_sde": (diffusers.DPMSolverMultistepScheduler, {"algorithm_type": "sde-dpmsolver++"}),
    "ddpm": (diffusers.DDPMScheduler, {"clip_sample": False}),
    "tcd": (diffusers.TCDScheduler, {}),
}


def scheduler(case: Case) -> SchedulerMixin:
    """The scheduler of diffusers that is a sampler's reference."""
    kind, settings = SCHEDULERS[case.reference or case.sampler]
    config = {
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "prediction_type": case.prediction,
        "timestep_spacing": case.spacing,
    }
    return kind.from_config({**config, **case.schedule, **settings})  # drops what a scheduler does not know


class BrownianNoise:
    """In place of diffusers' Brownian tree: our noise, for the two parts of each step as DPM-Solver++ SDE asks."""

    def __init__(self, x: torch.Tensor, *_: object) -> None:
        self._shape, self._asked = tuple(x.shape), 0
        self._first, self._middle = torch.zeros(0), 0.0

    def __call__(self, sigma: torch.Tensor, sigma_next: torch.Tensor) -> torch.Tensor:
        step, second = divmod(self._asked, 2)
        self._asked += 1
        noise = torch.from_numpy(step_noise(SEED, step, self._shape, second=bool(second)))
        if not second:
            self._first, self._middle = noise, float(sigma_next)
            return noise
        share = (float(sigma) - self._middle) / (float(sigma) - float(sigma_next))
        return math.sqrt(share) * self._first + math.sqrt(1 - share) * noise


NOISY = (
    "euler_ancestral_discrete",
    "lcm",
    "flow_match_lcm",
    "dpmsolver_multistep",
    "ddpm",
    "tcd",
)
"""Modules of diffusers.schedulers, without "scheduling_", that draw noise step by step."""


@contextmanager
def our_step_noise() -> Iterator[None]:
    """While open, diffusers' schedulers draw our noise: the n-th draw is that of step n."""
    step = 0

    def randn_tensor(shape: torch.Size, **_: object) -> torch.Tensor:
        nonlocal step
        noise = torch.from_numpy(step_noise(SEED, step, tuple(shape)))
        step += 1
        return noise

    with ExitStack() as stack:
        for name in NOISY:
            module = importlib.import_module(f"diffusers.schedulers.scheduling_{name}")
            stack.enter_context(mock.patch.object(module, "randn_tensor", randn_tensor))
        tree = importlib.import_module("diffusers.schedulers.scheduling_dpmsolver_sde")
        stack.enter_context(mock.patch.object(tree, "BrownianTreeNoiseSampler", BrownianNoise))
        yield


def trajectory(case: Case) -> npt.NDArray[np.float32]:
    """Latents before each network call and after the last, as diffusers' scheduler moves them."""
    reference = scheduler(case)
    reference.set_timesteps(case.steps)
    noise, timesteps = torch.from_numpy(start_noise(SEED, TRAJECTORY_SHAPE)), reference.timesteps
    if case.strength is None:
        x = noise * reference.init_noise_sigma
    else:  # as get_timesteps and prepare_latents of StableDiffusionImg2ImgPipeline
        first = case.steps - min(int(case.steps * case.strength), case.steps)
        timesteps = timesteps[first * reference.order :]
        if hasattr(reference, "set_begin_index"):
            reference.set_begin_index(first * reference.order)
        x = reference.add_noise(torch.from_numpy(cases.start_latents()), noise, timesteps[:1])
    path = [x.numpy()]
    with our_step_noise():
        for t in timesteps:
            output = cases.closed_form(reference.scale_model_input(x, t).numpy(), float(t))
            x = reference.step(torch.from_numpy(output), t, x).prev_sample
            path.append(x.numpy())
    return np.stack(path)


def timesteps() -> dict[str, Any]:
    """Timesteps of every number of steps from 1 up, one after another, for each sampler and spacing."""
    tables: dict[str, Any] = {}
    for case in cases.TIMESTEP_CASES:
        reference, table = scheduler(case), []
        for steps in range(1, (50 if case.sampler in ("lcm", "tcd") else LARGEST_STEPS) + 1):
            reference.set_timesteps(steps)
            table.append(reference.timesteps.numpy()[:steps])  # of 61 trailing steps rounding makes 62, the last -1
        tables[f"{case.sampler}-{case.spacing}"] = np.concatenate(table).astype(np.int16)
    return tables


def picture(case: Case) -> dict[str, Any]:
    """What StableDiffusionPipeline makes of the tiny model: its last latents and its uint8 picture."""
    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(cases.TINY, scheduler=scheduler(case))
    pipeline.set_progress_bar_config(disable=True)
    width, height = cases.PICTURE_SIZE
    last: dict[str, torch.Tensor] = {}

    def keep(_pipeline: object, _step: int, _t: object, values: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        last.update(values)
        return values

    with our_step_noise():
        result = pipeline(
            cases.PROMPT,
            negative_prompt=cases.NEGATIVE_PROMPT,
            width=width,
            height=height,
            num_inference_steps=case.steps,
            guidance_scale=cases.GUIDANCE_SCALE,
            latents=torch.from_numpy(start_noise(SEED, (1, 4, height // 8, width // 8))),
            callback_on_step_end=keep,
        )
    return {"latents": last["latents"].numpy(), "picture": np.asarray(result.images[0])}


def tokens() -> dict[str, list[list[int]]]:
    """Token ids of every text by transformers' own tokenizers, cut and padded to the encoders' lengths."""
    clip = CLIPTokenizer.from_pretrained(cases.TINY, subfolder="tokenizer")
    bert = BertTokenizer.from_pretrained(model_folder())
    return {
        name: tokenizer(cases.TEXTS, padding="max_length", truncation=True, max_length=length).input_ids
        for name, tokenizer, length in [
            ("clip", clip, cases.TEXT_LENGTH),
            ("bert", bert, cases.BERT_LENGTH),
        ]
    }


def write_manifest(part: str, command: str, graph_sha256: dict[str, str] | None = None) -> None:
    """Record, for one part, the command, the versions and, where networks ran, the graphs that made it."""
    manifest = json.loads(cases.MANIFEST.read_text()) if cases.MANIFEST.exists() else {}
    manifest[part] = {
        "command": f"python -m {command}",
        "python": sys.version.split()[0],
        "versions": {package: version(package) for package in PACKAGES},
    }
    if graph_sha256 is not None:
        manifest[part]["graph_sha256"] = graph_sha256
    cases.MANIFEST.write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n")


def main() -> None:
    """Write one part of the goldens: trajectories, tokens or pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["trajectories", "tokens", "pictures"])
    part = parser.parse_args().part
    if part == "trajectories":
        np.savez_compressed(cases.TIMESTEPS, **timesteps())
        paths: dict[str, Any] = {case.name: trajectory(case) for case in cases.TRAJECTORY_CASES}
        np.savez_compressed(cases.TRAJECTORIES, **paths)
    elif part == "tokens":
        cases.TOKENS.write_text(json.dumps(tokens()))
    else:
        pictures: dict[str, Any] = {}
        for case in cases.PICTURE_CASES:
            pictures.update({f"{case.name}-{what}": array for what, array in picture(case).items()})
        np.savez_compressed(cases.PICTURES, **pictures)
    digests = cases.graph_digests() if part == "pictures" else None
    write_manifest(part, f"model_tools.goldens.generate {part}", digests)


if __name__ == "__main__":
    main()
