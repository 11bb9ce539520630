"""The noise schedule of a checkpoint, from its scheduler_config.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import diffusers

from model_tools.checkpoints.errors import CheckpointError

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


FLOW_ONLY: Mapping[str, object] = {
    "invert_sigmas": False,
    "use_karras_sigmas": False,
    "use_exponential_sigmas": False,
    "use_beta_sigmas": False,
    "stochastic_sampling": False,
}
"""What other values of a flow-matching scheduler are not known here."""


def flow_table(config: Mapping[str, Any], spacing: str, shift_by_size: str = "size") -> dict[str, object]:
    """The keys of [networks.NAME.schedule] of flow matching.

    Args:
        config: of a FlowMatchEulerDiscreteScheduler, as diffusers wrote it.
        spacing: of the levels that the pipeline gives it: see FlowTable.
        shift_by_size: what its pipeline's dynamic shift goes by.

    Raises:
        CheckpointError: the schedule is one that is not known.
    """
    if (name := config.get("_class_name")) != "FlowMatchEulerDiscreteScheduler":
        raise CheckpointError(f"scheduler_config.json: is a {name}, not a FlowMatchEulerDiscreteScheduler")
    full = {**dict(diffusers.FlowMatchEulerDiscreteScheduler().config), **config}
    for key, value in FLOW_ONLY.items():
        if full[key] != value:
            raise CheckpointError(f"scheduler_config.json: {key} is {full[key]!r:.60}, only {value} is known")
    table: dict[str, object] = {
        "prediction_type": "flow",
        "timestep_spacing": spacing,
        "train_steps": int(full["num_train_timesteps"]),
    }
    if full.get("shift_terminal"):
        table["shift_terminal"] = float(full["shift_terminal"])
    if not full["use_dynamic_shifting"]:
        return table | {"shift_by": "fixed", "shift": float(full["shift"])}
    if shift_by_size == "size_and_steps":
        return table | {"shift_by": shift_by_size}
    linear = full["time_shift_type"] == "linear"
    return table | {
        "shift_by": "size_linear" if linear else "size",
        **{name: float(full[name]) for name in ("base_shift", "max_shift")},
        **{name: int(full[name]) for name in ("base_image_seq_len", "max_image_seq_len")},
    }


def _defaults(name: str) -> dict[str, Any]:
    kind = getattr(diffusers, name, None)
    if kind is None or "beta_start" not in (known := dict(kind().config)):
        raise CheckpointError(f"scheduler_config.json: {name or 'a scheduler without a name'} has no betas known here")
    return known
