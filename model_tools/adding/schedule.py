"""The noise schedule of a checkpoint, from its scheduler_config.json."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import diffusers

from model_tools.checkpoints.weights import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Mapping

ONLY: Mapping[str, object] = {"trained_betas": None, "rescale_betas_zero_snr": False, "beta_schedule": "scaled_linear"}
"""What other values are not known here."""
SPACINGS = ("leading", "trailing", "linspace")
PREDICTIONS = ("epsilon", "v_prediction")


def schedule_table(config: Mapping[str, Any], spacing: str | None = None) -> dict[str, object]:
    """The keys of [networks.NAME.schedule].

    Args:
        config: as diffusers wrote it. What it leaves out is its class's default.
        spacing: of timesteps, in place of its own.

    Raises:
        CheckpointError: the schedule is one that is not known.
    """
    full = {**_defaults(str(config.get("_class_name", ""))), **config}
    for name, value in ONLY.items():
        if full.get(name, value) != value:
            raise CheckpointError(f"scheduler_config.json: {name} is {full[name]!r:.60}, only {value} is known")
    spaced = spacing or full.get("timestep_spacing", "leading")
    if spaced not in SPACINGS:
        raise CheckpointError(f"scheduler_config.json: spaces timesteps {spaced}, known are {', '.join(SPACINGS)}")
    if (prediction := full.get("prediction_type", "epsilon")) not in PREDICTIONS:
        raise CheckpointError(f"scheduler_config.json: predicts {prediction}, known are {', '.join(PREDICTIONS)}")
    return {
        "prediction_type": prediction,
        "beta_start": float(full["beta_start"]),
        "beta_end": float(full["beta_end"]),
        "train_steps": int(full.get("num_train_timesteps", 1000)),
        "timestep_spacing": spaced,
        "steps_offset": min(1, int(full.get("steps_offset", 0))),
        "set_alpha_to_one": bool(full.get("set_alpha_to_one", True)),
    }


def _defaults(name: str) -> dict[str, Any]:
    kind = getattr(diffusers, name, None)
    if kind is None or "beta_start" not in (known := dict(kind().config)):
        raise CheckpointError(f"scheduler_config.json: {name or 'a scheduler without a name'} has no betas known here")
    return known
