"""Trains the autoencoder on both styles."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from model_tools.training.clock import Budget, learning_rate
from model_tools.training.paths import Workspace
from model_tools.training.pictures import STYLES
from model_tools.training.runlog import RunLog, load_state, save_state, write_pid
from model_tools.training.starter.data.canvas import place_all
from model_tools.training.starter.networks.autoencoder import Autoencoder

BATCH = 32
PEAK = 1.5e-3
SAVE_SECONDS = 120.0
SIDE = 128
LOSS_WEIGHTS = {"l1": 1.0, "edge": 1.0, "low": 0.5, "mse": 3.0, "hue": 2.0}
SHIFT = 8
# At this interval one picture of a style is kept out of the autoencoder's training, to measure it by.
HELD_OUT = 16


def held_out(row: int) -> bool:
    """Whether the autoencoder's training leaves out this row of a style's pictures."""
    return row % HELD_OUT == 5


def to_float(pictures: NDArray[np.uint8] | Tensor) -> Tensor:
    """uint8 [B, H, W, 3] to float [B, 3, H, W] in [-1, 1], channels last."""
    return torch.as_tensor(pictures).permute(0, 3, 1, 2).float().div(127.5).sub(1.0)


def draw_batch(pictures: Tensor, generator: torch.Generator, *, size: int = BATCH) -> Tensor:
    """A batch [size, 3, 128, 128]: pictures moved and mirrored by chance, or, one time in four, mosaics.

    A mosaic is four pictures at half size: it represents the small objects of the wide and tall canvases.
    """
    mosaic = torch.rand((), generator=generator).item() < 0.25
    count = size * 4 if mosaic else size
    batch = to_float(pictures[torch.randint(len(pictures), (count,), generator=generator)])
    if mosaic:
        small = functional.avg_pool2d(batch, 2).unflatten(0, (size, 2, 2))
        batch = small.permute(0, 3, 1, 4, 2, 5).reshape(size, 3, SIDE, SIDE)
    shift = torch.randint(-SHIFT, SHIFT + 1, (2,), generator=generator).tolist()
    batch = torch.roll(batch, shift, (2, 3))
    if torch.rand((), generator=generator).item() < 0.5:
        batch = batch.flip(3)
    return batch.contiguous(memory_format=torch.channels_last)


def edges(image: Tensor) -> tuple[Tensor, Tensor]:
    """Differences of neighbours, down and across."""
    return image[..., 1:, :] - image[..., :-1, :], image[..., :, 1:] - image[..., :, :-1]


def loss_terms(output: Tensor, target: Tensor) -> dict[str, Tensor]:
    """The parts of the loss: L1 for all, its edges against blur, and means over areas, which set colours early.

    `hue` is the error of the two colour differences. Most pictures are yellow, red or blue; without it the rest
    (green, purple) is the last thing that four channels learn to carry.
    """
    error = output - target
    red, green, blue = error.unbind(1)
    hue = torch.stack([red - green, (red + green) / 2 - blue], 1)
    return {
        "hue": functional.avg_pool2d(hue, 4).abs().mean(),
        "l1": error.abs().mean(),
        "edge": torch.stack([part.abs().mean() for part in edges(error)]).sum(),
        "low": functional.avg_pool2d(error, 8).abs().mean(),
        "mse": error.square().mean(),
    }


def train_vae(workspace: Workspace, minutes: float, *, seed: int = 0, compiled: bool = True) -> None:
    """Trains for `minutes`, going on from the saved state if there is one."""
    write_pid(workspace.root / "train.pid")
    arrays = []
    for style in STYLES:
        source = np.load(workspace.pictures(style), mmap_mode="r")
        arrays.append(place_all(source[[row for row in range(len(source)) if not held_out(row)]], SIDE, SIDE))
    pictures = torch.from_numpy(np.concatenate(arrays))
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = Autoencoder().to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(model.parameters(), lr=PEAK, betas=(0.9, 0.99), weight_decay=1e-3, fused=True)
    step, spent = restore(load_state(workspace.vae), model, optimiser, generator)
    budget = Budget(minutes * 60, spent)
    log = RunLog(workspace.log("vae"), tuple(LOSS_WEIGHTS))
    forward = torch.compile(model) if compiled else model
    saved = budget.used()
    while not budget.over():
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(PEAK, step, budget.share())
        target = draw_batch(pictures, generator)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            output = forward(target)
        terms = loss_terms(output.float(), target)
        loss = torch.stack([weight * terms[key] for key, weight in LOSS_WEIGHTS.items()]).sum()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        step += 1
        log.step(step, budget.used(), step * BATCH, budget.share(), {key: term.item() for key, term in terms.items()})
        if budget.used() - saved >= SAVE_SECONDS:
            saved = budget.used()
            save_state(workspace.vae, snapshot(model, optimiser, generator, step, budget))
    log.close()
    save_state(workspace.vae, snapshot(model, optimiser, generator, step, budget))


def snapshot(
    model: Autoencoder, optimiser: torch.optim.Optimizer, generator: torch.Generator, step: int, budget: Budget
) -> dict[str, Any]:
    """All that a later run needs to go on."""
    return {
        "model": model.state_dict(),
        "optimiser": optimiser.state_dict(),
        "generator": generator.get_state(),
        "step": step,
        "spent": budget.used(),
    }


def restore(
    state: dict[str, Any] | None, model: Autoencoder, optimiser: torch.optim.Optimizer, generator: torch.Generator
) -> tuple[int, float]:
    """Puts a snapshot back. Returns the step and the seconds spent, zeros where there is no snapshot."""
    if state is None:
        return 0, 0.0
    model.load_state_dict(state["model"])
    optimiser.load_state_dict(state["optimiser"])
    generator.set_state(state["generator"])
    return int(state["step"]), float(state["spent"])
