"""Trains the denoiser on cached latents."""

import copy
from typing import Any

import torch
from diffusers import DDPMScheduler
from torch import Tensor, nn

from model_tools.training.clock import Budget, learning_rate
from model_tools.training.paths import Workspace
from model_tools.training.runlog import RunLog, load_state, save_state, write_pid
from model_tools.training.starter.networks.denoiser import TRAIN_STEPS, Denoiser, build_schedule, build_unet
from model_tools.training.starter.trainers.latents import Batch, LatentData
from model_tools.training.starter.trainers.train_draft import blank_draft, load_draft

BATCH = 32
PEAK = 4e-4
EMA_DECAY = 0.998
SAVE_SECONDS = 180.0


# Sampling starts from pure noise, but the schedule leaves 7 % of the picture in its last step: enough, in maps of
# 16 x 16, for a network to read the layout off the noise's low frequencies and not off the caption. So the picture
# fades out between these steps, and a part of all samples is drawn from there.
FADE_FROM, FADE_TO = 900, 980
TAIL_SHARE = 0.25
# Rows with the caption of another picture, at no more than this part of the noise: where a request starts from a
# picture, the draft shows something else, and the network has to decide which of the two to believe.
WRONG_SHARE, WRONG_NOISE = 0.1, 0.6


def fade(steps: Tensor) -> Tensor:
    """The share of the picture in a train step, beyond the schedule's own scale: 1 down to 0, [B, 1, 1, 1]."""
    return ((FADE_TO - steps.float()) / (FADE_TO - FADE_FROM)).clamp(0.0, 1.0).view(-1, 1, 1, 1)


def draw_steps(size: int, generator: torch.Generator) -> Tensor:
    """Train steps [size]: stratified, a part of them moved to the schedule's noisy end."""
    steps = stratified_steps(size, generator)
    tail = torch.randint(FADE_TO - 20, TRAIN_STEPS, (size,), generator=generator)
    return torch.where(torch.rand(size, generator=generator) < TAIL_SHARE, tail, steps)


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

    def __init__(self, unet: Denoiser, *, seed: int = 0, compiled: bool = True) -> None:
        self.unet = unet
        self.average = copy.deepcopy(unet).requires_grad_(False)
        self.schedule: DDPMScheduler = build_schedule()
        self.optimiser = torch.optim.AdamW(
            unet.unet.parameters(), lr=PEAK, betas=(0.9, 0.99), weight_decay=1e-2, fused=True
        )
        self.generator = torch.Generator().manual_seed(seed)
        self.step = 0
        # Only the native shape is compiled: compiling costs a minute a shape, running the others as they are costs
        # a fifth of their speed.
        self.fast = torch.compile(unet, dynamic=False) if compiled else unet

    def loss(self, batch: Batch) -> Tensor:
        """Mean square error of the predicted v."""
        latents = batch.latents
        noise = torch.randn(latents.shape, generator=self.generator)
        steps = draw_steps(len(latents), self.generator)
        wrong = torch.rand(len(latents), generator=self.generator) < WRONG_SHARE
        steps = torch.where(wrong, (WRONG_NOISE * steps).long(), steps)
        text = torch.where(wrong[:, None, None], batch.text.roll(1, 0), batch.text)
        noisy = self.schedule.add_noise(latents * fade(steps), noise, steps)
        target = self.schedule.get_velocity(latents, noise, steps)
        forward = self.fast if batch.native else self.unet
        with torch.autocast("cpu", dtype=torch.bfloat16):
            output = forward(noisy.contiguous(memory_format=torch.channels_last), steps, text, return_dict=False)[0]
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
    trainer = UNetTrainer(build_unet(load_draft(workspace)), seed=seed, compiled=compiled)
    state = load_state(workspace.unet)
    budget = Budget(minutes * 60, trainer.restore(state) if state else 0.0)
    for net in (trainer.unet, trainer.average):
        renew_draft(net, workspace)
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


def renew_draft(unet: Denoiser, workspace: Workspace) -> None:
    """Gives a denoiser the draft as it is now: it may have learnt since the denoiser's state was saved."""
    unet.draft.load_state_dict(load_draft(workspace).state_dict())


def load_unet(workspace: Workspace) -> Denoiser:
    """The averaged denoiser with the draft as it is now, for inference. Raises FileNotFoundError before training."""
    state = load_state(workspace.unet)
    if state is None:
        raise FileNotFoundError(f"{workspace.unet}: train the denoiser first")
    unet = build_unet(blank_draft(workspace))
    unet.load_state_dict(state["average"])
    renew_draft(unet, workspace)
    unet.eval().requires_grad_(False)
    return unet
