"""Trains the denoiser on cached latents."""

import copy
from typing import Any

import torch
from diffusers import DDPMScheduler, UNet2DConditionModel
from torch import Tensor, nn

from model_tools.starter.clock import Budget, learning_rate
from model_tools.starter.denoiser import TRAIN_STEPS, build_schedule, build_unet
from model_tools.starter.latents import Batch, LatentData
from model_tools.starter.paths import Workspace
from model_tools.starter.runlog import RunLog, load_state, save_state, write_pid

BATCH = 32
PEAK = 5e-4
EMA_DECAY = 0.998
SAVE_SECONDS = 180.0


def stratified_steps(size: int, generator: torch.Generator) -> Tensor:
    """Train steps [size], one from each of `size` equal parts of the schedule: less noise in the gradient."""
    places = (torch.randperm(size, generator=generator) + torch.rand(size, generator=generator)) / size
    return (places * TRAIN_STEPS).long().clamp(max=TRAIN_STEPS - 1)


def ema_decay(step: int) -> float:
    """Short at first, when the weights still move fast, and at most EMA_DECAY."""
    return min(EMA_DECAY, (1 + step) / (10 + step))


def update_ema(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Moves each averaged weight towards the trained one."""
    with torch.no_grad():
        torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1.0 - decay)


class UNetTrainer:
    """The denoiser, its average, its optimiser and its random numbers."""

    def __init__(self, unet: UNet2DConditionModel, *, seed: int = 0, compiled: bool = True) -> None:
        self.unet = unet
        self.average = copy.deepcopy(unet).requires_grad_(False)
        self.schedule: DDPMScheduler = build_schedule()
        self.optimiser = torch.optim.AdamW(unet.parameters(), lr=PEAK, betas=(0.9, 0.99), weight_decay=1e-2, fused=True)
        self.generator = torch.Generator().manual_seed(seed)
        self.step = 0
        # Only the native shape is compiled: compiling costs a minute a shape, running the others as they are costs
        # a fifth of their speed.
        self.fast = torch.compile(unet, dynamic=False) if compiled else unet

    def loss(self, batch: Batch) -> Tensor:
        """Mean square error of the predicted v."""
        latents = batch.latents
        noise = torch.randn(latents.shape, generator=self.generator)
        steps = stratified_steps(len(latents), self.generator)
        noisy = self.schedule.add_noise(latents, noise, steps)
        target = self.schedule.get_velocity(latents, noise, steps)
        forward = self.fast if batch.native else self.unet
        with torch.autocast("cpu", dtype=torch.bfloat16):
            output = forward(noisy.contiguous(memory_format=torch.channels_last), steps, batch.text, return_dict=False)[
                0
            ]
        return (output.float() - target).square().mean()

    def train_step(self, batch: Batch, rate: float) -> float:
        """One optimiser step at the learning rate given. Returns the loss."""
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        loss = self.loss(batch)
        self.optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.unet.parameters(), 1.0)
        self.optimiser.step()
        self.step += 1
        update_ema(self.average, self.unet, ema_decay(self.step))
        return loss.item()

    def state(self, spent: float) -> dict[str, Any]:
        """All that a later run needs to go on."""
        return {
            "model": self.unet.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "generator": self.generator.get_state(),
            "step": self.step,
            "spent": spent,
        }

    def restore(self, state: dict[str, Any]) -> float:
        """Puts a state back. Returns the seconds that its training had used."""
        self.unet.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.generator.set_state(state["generator"])
        self.step = int(state["step"])
        return float(state["spent"])


def train_unet(workspace: Workspace, minutes: float, *, seed: int = 0, compiled: bool = True) -> None:
    """Trains for `minutes`, going on from the saved state if there is one."""
    write_pid(workspace.root / "train.pid")
    torch.manual_seed(seed)
    trainer = UNetTrainer(build_unet(), seed=seed, compiled=compiled)
    state = load_state(workspace.unet)
    budget = Budget(minutes * 60, trainer.restore(state) if state else 0.0)
    data = LatentData(workspace)
    log = RunLog(workspace.log("unet"), ("loss", "rate"))
    saved = budget.used()
    while not budget.over():
        rate = learning_rate(PEAK, trainer.step, budget.share())
        loss = trainer.train_step(data.draw(BATCH, trainer.generator), rate)
        log.step(trainer.step, budget.used(), trainer.step * BATCH, budget.share(), {"loss": loss, "rate": rate})
        if budget.used() - saved >= SAVE_SECONDS:
            saved = budget.used()
            save_state(workspace.unet, trainer.state(saved))
    log.close()
    save_state(workspace.unet, trainer.state(budget.used()))


def load_unet(workspace: Workspace) -> UNet2DConditionModel:
    """The averaged denoiser, for inference. Raises FileNotFoundError before its training."""
    state = load_state(workspace.unet)
    if state is None:
        raise FileNotFoundError(f"{workspace.unet}: train the denoiser first")
    unet = build_unet()
    unet.load_state_dict(state["average"])
    unet.eval().requires_grad_(False)
    return unet
