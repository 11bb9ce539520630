"""Makes the goldens of flow matching: what diffusers' schedulers answer to a closed-form network.

.tools/bin/python -m model_tools.goldens.generate_flow
"""

from __future__ import annotations

from typing import Any

import diffusers
import numpy as np
import numpy.typing as npt
import torch
from diffusers.pipelines.flux2.pipeline_flux2 import compute_empirical_mu
from diffusers.pipelines.qwenimage.pipeline_qwenimage import calculate_shift
from diffusers.schedulers import SchedulerMixin

from model_tools.goldens import cases
from model_tools.goldens.cases import SEED, TRAJECTORY_SHAPE, FlowCase
from model_tools.goldens.generate import our_step_noise, write_manifest
from orchestrator.diffusion.noise import start_noise

SCHEDULERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "euler": (diffusers.FlowMatchEulerDiscreteScheduler, {}),
    "heun": (diffusers.FlowMatchHeunDiscreteScheduler, {}),
    "lcm": (diffusers.FlowMatchLCMScheduler, {}),
    "dpmpp_2m": (diffusers.DPMSolverMultistepScheduler, {}),
    "dpmpp_2m_sde": (diffusers.DPMSolverMultistepScheduler, {"algorithm_type": "sde-dpmsolver++"}),
    "unipc": (diffusers.UniPCMultistepScheduler, {}),
}
BY_FLOW_SIGMAS = ("dpmpp_2m", "dpmpp_2m_sde", "unipc")
"""Schedulers of diffusion that walk flow matching by an option, and lay out the levels themselves."""


def scheduler(case: FlowCase) -> SchedulerMixin:
    """The scheduler of diffusers, its timesteps set as that of a pipeline would be."""
    kind, settings = SCHEDULERS[case.sampler]
    dynamic = case.shift_by != "fixed"
    if case.sampler in BY_FLOW_SIGMAS:
        flow = {"use_flow_sigmas": True, "prediction_type": "flow_prediction", "use_dynamic_shifting": dynamic}
        reference = kind(**flow, flow_shift=case.shift, **settings)
        reference.set_timesteps(case.steps, **({"mu": _mu(case)} if dynamic else {}))
        return reference
    config: dict[str, Any] = {"shift": case.shift, "use_dynamic_shifting": dynamic}
    config |= {"shift_terminal": case.shift_terminal}
    config["time_shift_type"] = "linear" if case.shift_by == "size_linear" else "exponential"
    reference = kind.from_config({**config, **settings})
    if case.sampler == "heun":
        reference.set_timesteps(case.steps)
        return reference
    trailing = np.linspace(1.0, 1 / case.steps, case.steps)
    given = {"sigmas": trailing} if case.spacing == "trailing" else {"num_inference_steps": case.steps}
    reference.set_timesteps(**given, **({"mu": _mu(case)} if dynamic else {}))
    return reference


def _mu(case: FlowCase) -> float:
    if case.shift_by == "size_and_steps":
        return float(compute_empirical_mu(case.tokens, case.steps))
    return float(calculate_shift(case.tokens))


def trajectory(case: FlowCase) -> npt.NDArray[np.float32]:
    """Latents before each network call and after the last step, as diffusers' scheduler moves them."""
    reference = scheduler(case)
    noise, timesteps = torch.from_numpy(start_noise(SEED, TRAJECTORY_SHAPE)), reference.timesteps
    x = noise
    if case.strength is not None:  # as get_timesteps and prepare_latents of StableDiffusion3Img2ImgPipeline
        first = int(case.steps - min(case.steps * case.strength, case.steps))
        timesteps = timesteps[first * reference.order :]
        reference.set_begin_index(first * reference.order)
        add = reference.scale_noise if hasattr(reference, "scale_noise") else None
        start = torch.from_numpy(cases.start_latents())
        x = add(start, timesteps[:1], noise) if add else reference.add_noise(start, noise, timesteps[:1])
    path = [x.numpy()]
    with our_step_noise():
        for t in timesteps:
            output = cases.closed_form(x.numpy(), float(t))
            x = reference.step(torch.from_numpy(output), t, x).prev_sample
            path.append(x.numpy())
    return np.stack(path)


def main() -> None:
    """Write the goldens of flow matching."""
    paths: dict[str, Any] = {case.name: trajectory(case) for case in cases.FLOW_CASES}
    np.savez_compressed(cases.FLOW_TRAJECTORIES, **paths)
    write_manifest("flow", "model_tools.goldens.generate_flow")


if __name__ == "__main__":
    main()
