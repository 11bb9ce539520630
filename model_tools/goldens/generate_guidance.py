"""Makes the goldens of guidance: what diffusers' guiders make of predictions of three steps.

.tools/bin/python -m model_tools.goldens.generate_guidance
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from diffusers import guiders

from model_tools.goldens import cases
from model_tools.goldens.cases import GUIDANCE_CASES, GUIDANCE_STEPS, GuidanceCase, guidance_predictions
from model_tools.goldens.generate import write_manifest


def guider(case: GuidanceCase) -> Any:  # noqa: ANN401  # diffusers' guiders have no common type that is exported
    """The guider of diffusers that a case is held to."""
    common = {"guidance_scale": case.scale, "guidance_rescale": case.rescale, "start": case.start, "stop": case.end}
    if case.method == "apg":
        return guiders.AdaptiveProjectedGuidance(
            **common,
            eta=case.eta,
            adaptive_projected_guidance_momentum=case.momentum,
            adaptive_projected_guidance_rescale=case.norm_threshold,
        )
    if case.method == "cfg_zero_star":
        return guiders.ClassifierFreeZeroStarGuidance(**common, zero_init_steps=0)
    return guiders.ClassifierFreeGuidance(**common)


def answers(case: GuidanceCase) -> Any:  # noqa: ANN401  # an array
    """Guided predictions of the first steps, one after another."""
    reference, found = guider(case), []
    for step, predictions in enumerate(guidance_predictions()):
        reference.set_state(step=step, num_inference_steps=GUIDANCE_STEPS, timestep=torch.tensor(0))
        if step == 0:
            reference.prepare_inputs({})
        unconditional, conditional = (torch.from_numpy(row[None]) for row in predictions)
        found.append(reference.forward(conditional, unconditional).pred.numpy())
    return np.concatenate(found)


def main() -> None:
    """Write the goldens."""
    np.savez_compressed(cases.GUIDED, **{case.name: answers(case) for case in GUIDANCE_CASES})
    write_manifest("guidance", "model_tools.goldens.generate_guidance")


if __name__ == "__main__":
    main()
