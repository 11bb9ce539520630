"""Tiny VAEs that decode in the place of a checkpoint's: which are taken, and what is said of the others."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import load_file, save_file

from model_tools.checkpoints.checkpoint import Checkpoint
from model_tools.checkpoints.dit import architectures
from model_tools.checkpoints.errors import CheckpointError
from model_tools.checkpoints.inputs import Inputs
from model_tools.goldens import random_checkpoints, random_transformers

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = [pytest.mark.tools, pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")]

WEIGHTS = "diffusion_pytorch_model.safetensors"


def set_config(folder: Path, **values: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def edit(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    state = load_file(folder / WEIGHTS)
    change(state)
    save_file(state, folder / WEIGHTS)


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "of 16 channels": (
        lambda f: set_config(f, latent_channels=16),
        "takes latents of 16 channels, with 8 pixels along a side, and the checkpoint's have 4, with 8",
    ),
    "of another factor": (lambda f: set_config(f, num_decoder_blocks=[1, 1]), "with 2 pixels along a side"),
    "blocks in no list": (lambda f: set_config(f, num_decoder_blocks=None), "num_decoder_blocks is None, not a list"),
    "another class": (
        lambda f: set_config(f, _class_name="AutoencoderKL"),
        "the tiny VAE is a AutoencoderKL, not a AutoencoderTiny",
    ),
    "scaled": (lambda f: set_config(f, scaling_factor=0.18), r"its scaling_factor is 0\.18, only 1\.0 is known"),
    "no weights": (lambda f: (f / WEIGHTS).unlink(), "no such file"),
    "no configuration": (lambda f: (f / "config.json").unlink(), r"config\.json: no such file"),
}


@pytest.mark.parametrize("fault", WRONG)
def test_one_that_does_not_fit_is_refused_before_weights_are_read(
    fault: str, made: Path, copy: Callable[[str], Path]
) -> None:
    spoil, message = WRONG[fault]
    folder = copy("sd_tiny_vae")
    spoil(folder)
    with pytest.raises(CheckpointError, match=message):
        Checkpoint(Inputs(made / "sd", tiny_vae=folder))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("decoder.layers.0.bias"), r"lacks decoder\.layers\.0\.bias"),
        (lambda s: s["decoder.layers.0.bias"].fill_(float("nan")), "holds NaN weights"),
    ],
)
def test_broken_weights_are_named(
    change: Callable[[dict[str, torch.Tensor]], object], message: str, made: Path, copy: Callable[[str], Path]
) -> None:
    folder = copy("sd_tiny_vae")
    edit(folder, change)
    checkpoint = Checkpoint(Inputs(made / "sd", tiny_vae=folder))
    with pytest.raises(CheckpointError, match=message):
        checkpoint.loads()["tiny_vae"]()


def test_a_file_is_refused(made: Path) -> None:
    with pytest.raises(CheckpointError, match="no such folder; a tiny VAE is one, in diffusers' layout"):
        Checkpoint(Inputs(made / "sd", tiny_vae=made / "sd_tiny_vae" / WEIGHTS))


def test_transformers_take_it_where_one_is_known(tmp_path: Path) -> None:
    tiny = random_checkpoints.make(tmp_path, "tiny_vae_16")
    for name, message in {"flux": "", "qwen_image": "no AutoencoderTiny takes the latents of Qwen-Image"}.items():
        folder = random_transformers.make(tmp_path, name)
        kind = architectures.find(folder)
        assert kind is not None
        if message:
            with pytest.raises(CheckpointError, match=message):
                kind(Inputs(folder, tiny_vae=tiny))
        else:
            assert kind(Inputs(folder, tiny_vae=tiny)).tiny_vae() is not None
