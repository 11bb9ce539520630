"""Trains the control adapter, the image prompt and its encoder, all at once, around the frozen networks."""

from typing import Any

import torch
from diffusers import DDPMScheduler
from torch import Tensor, nn

from model_tools.training.clock import Budget, learning_rate
from model_tools.training.paths import Workspace
from model_tools.training.runlog import RunLog, load_state, save_state, write_pid
from model_tools.training.starter.networks.autoencoder import Encoder
from model_tools.training.starter.networks.control import Residuals, scale_residuals
from model_tools.training.starter.networks.controlled import ControlledDenoiser, Noisy, Shown, Steering, build_adapters
from model_tools.training.starter.networks.denoiser import Denoiser, build_schedule, place_map, ready_to_draw
from model_tools.training.starter.networks.image_prompt import TOKENS, ImageEncoder
from model_tools.training.starter.networks.text import WIDTH
from model_tools.training.starter.trainers.adapter_data import AdapterBatch, AdapterData
from model_tools.training.starter.trainers.latents import load_autoencoder, scaling_factor
from model_tools.training.starter.trainers.train_unet import draw_steps, fade, load_unet

BATCH = 64
# At this interval of steps the UNet sees every third row, once the drafts alone have had this share of the time: while
# they are still poor, its loss teaches nothing. The drafts of all rows are compared: that costs little and teaches the
# most.
DENOISE_EVERY, DENOISED = 3, slice(None, None, 3)
DRAFTS_ALONE = 0.15
PEAK = 1e-3
# What learns from pictures, with norms, bears a higher rate.
IMAGE_RATE = 2.0
SAVE_SECONDS = 180.0
# Two views of one person or thing shall have like tokens: temperature and weight of that loss.
TEMPERATURE, ALIKE_WEIGHT = 0.1, 0.1


def masked_mean(error: Tensor, wanted: Tensor) -> Tensor:
    """Mean square of [B, ...] over the rows that are wanted [B]; 0 where none is."""
    rows = error.float().square().mean((1, 2, 3))
    return (rows * wanted).sum() / wanted.sum().clamp(min=1)


def padded(maps: Tensor, rows: int) -> Tensor:
    """Rows of zeros after those of `maps`."""
    return torch.cat([maps, maps.new_zeros(rows, *maps.shape[1:])])


def alike(one: Tensor, other: Tensor) -> Tensor:
    """Cross-entropy of separating, by cosine, each row's own other view [N, 16, 384] from all others' (InfoNCE).

    van den Oord et al. 2018, arXiv:1807.03748, from both sides. What photographs differ in (backdrop, light, crop)
    separates no views, so the tokens leave it out, and who is seen stays.
    """
    likeness = nn.functional.normalize(one.flatten(1), dim=1) @ nn.functional.normalize(other.flatten(1), dim=1).T
    own = torch.arange(len(one))
    logits = likeness / TEMPERATURE
    return (nn.functional.cross_entropy(logits, own) + nn.functional.cross_entropy(logits.T, own)) / 2


class AdapterTrainer:
    """The adapters around a frozen denoiser, their optimiser and their random numbers."""

    def __init__(self, base: Denoiser, encoder: Encoder, scale: float, *, seed: int = 0) -> None:
        self.model, self.prompts = build_adapters(base)
        self.encoder, self.scale = encoder, scale
        self.schedule: DDPMScheduler = build_schedule()
        self.parts = nn.ModuleDict({**self.model.adapters(), "images": self.prompts})
        steady, eager = ("control", "attentions"), ("images", "prompt", "recolour")
        groups = [
            {"params": [weights for part in names for weights in self.parts[part].parameters()], "factor": factor}
            for names, factor in ((steady, 1.0), (eager, IMAGE_RATE))
        ]
        self.optimiser = torch.optim.AdamW(groups, lr=PEAK, betas=(0.9, 0.99), weight_decay=1e-2, fused=True)
        self.generator = torch.Generator().manual_seed(seed)
        self.step = 0

    def latents(self, batch: AdapterBatch) -> Tensor:
        """The targets' scaled latents."""
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
            image = batch.target.contiguous(memory_format=torch.channels_last)
            return self.encoder(image).float() * self.scale

    def losses(self, batch: AdapterBatch, *, denoised: bool = True) -> dict[str, Tensor]:
        """Mean square errors of both corrected drafts, each at full scale, and of v at the rows' own scales.

        Rows without edges or without a prompt take no part in what they lack. On the native canvas also how well the
        tokens of prompts and of their targets are separated from others'.
        """
        latents = self.latents(batch)
        places, free = place_map(latents), len(latents) - batch.edged
        with torch.autocast("cpu", dtype=torch.bfloat16):
            prompts = batch.prompt[batch.unprompted :].contiguous(memory_format=torch.channels_last)
            tokens = torch.cat([torch.zeros(batch.unprompted, TOKENS, WIDTH), self.prompts(prompts)])
            steering = Steering(batch.control, batch.control_scale, tokens, batch.image_scale)
            shown = self.model.show(places, batch.text, steering)
            edged = Shown(*(part[: batch.edged] for part in shown))
            residuals = self.model.steer(places[: batch.edged], edged, batch.control[: batch.edged])
        losses = {
            "control": (edged.draft + residuals.draft - latents[: batch.edged]).square().mean(),
            "image": masked_mean((shown.draft - latents)[batch.edged :], batch.image_scale[batch.edged :, 0] == 1),
        }
        if batch.target.shape[2:] == batch.prompt.shape[2:]:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                seen = self.prompts(batch.target[batch.edged :].contiguous(memory_format=torch.channels_last))
            losses["alike"] = ALIKE_WEIGHT * alike(tokens[batch.edged :].float(), seen.float())
        if denoised:
            skips = tuple(padded(skip, free) for skip in residuals.skips)
            whole = Residuals(padded(residuals.draft, free), skips, padded(residuals.middle, free))
            scaled = scale_residuals(whole, batch.control_scale)
            rows = Residuals(scaled.draft[DENOISED], tuple(x[DENOISED] for x in scaled.skips), scaled.middle[DENOISED])
            asked = Steering(*(part[DENOISED] for part in steering))
            losses["v"] = self.v_loss(latents[DENOISED], batch.text[DENOISED], shown.draft[DENOISED], rows, asked)
        return losses

    def v_loss(self, latents: Tensor, text: Tensor, draft: Tensor, added: Residuals, steering: Steering) -> Tensor:
        """Mean square error of the predicted v."""
        noise = torch.randn(latents.shape, generator=self.generator)
        steps = draw_steps(len(latents), self.generator)
        noisy = self.schedule.add_noise(latents * fade(steps), noise, steps)
        target = self.schedule.get_velocity(latents, noise, steps)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            sample = noisy.contiguous(memory_format=torch.channels_last)
            output = self.model.denoise(Noisy(sample, steps, text), place_map(noisy), draft, added, steering)
        return (output.float() - target).square().mean()

    def train_step(self, batch: AdapterBatch, rate: float, *, denoised: bool = True) -> dict[str, float]:
        """One optimiser step at the learning rate given. Returns the losses."""
        for group in self.optimiser.param_groups:
            group["lr"] = rate * group["factor"]
        losses = self.losses(batch, denoised=denoised)
        self.optimiser.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        nn.utils.clip_grad_norm_(self.parts.parameters(), 1.0)
        self.optimiser.step()
        self.step += 1
        return {key: loss.item() for key, loss in losses.items()}

    def state(self, spent: float) -> dict[str, Any]:
        """All that a later run needs to go on."""
        return {
            "model": self.parts.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "generator": self.generator.get_state(),
            "step": self.step,
            "spent": spent,
        }

    def restore(self, state: dict[str, Any]) -> float:
        """Puts a state back. Returns the seconds that its training had used."""
        self.parts.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.generator.set_state(state["generator"])
        self.step = int(state["step"])
        return float(state["spent"])


def new_trainer(workspace: Workspace, *, seed: int = 0) -> AdapterTrainer:
    """Untrained adapters around the workspace's networks."""
    torch.manual_seed(seed)
    encoder = load_autoencoder(workspace).encoder
    return AdapterTrainer(load_unet(workspace), encoder, scaling_factor(workspace), seed=seed)


def train_adapters(workspace: Workspace, minutes: float, *, seed: int = 0) -> None:
    """Trains for `minutes`, going on from the saved state if there is one."""
    write_pid(workspace.root / "train.pid")
    trainer = new_trainer(workspace, seed=seed)
    state = load_state(workspace.adapters)
    spent = trainer.restore(state) if state else 0.0
    data = AdapterData(workspace)
    budget = Budget(minutes * 60, spent)
    log = RunLog(workspace.log("adapters"), ("control", "image", "alike", "v", "rate"), every=20)
    saved = budget.used()
    while not budget.over():
        share = budget.share()
        rate = learning_rate(PEAK, trainer.step, share)
        denoised = share >= DRAFTS_ALONE and trainer.step % DENOISE_EVERY == 0
        losses = trainer.train_step(data.draw(BATCH, trainer.generator), rate, denoised=denoised)
        log.step(trainer.step, budget.used(), trainer.step * BATCH, share, losses | {"rate": rate})
        if budget.used() - saved >= SAVE_SECONDS:
            saved = budget.used()
            save_state(workspace.adapters, trainer.state(saved))
    log.close()
    save_state(workspace.adapters, trainer.state(budget.used()))


def load_adapters(workspace: Workspace) -> tuple[ControlledDenoiser, ImageEncoder]:
    """The denoiser with its adapters and the image encoder, to draw with; new adapters before their training."""
    model, prompts = build_adapters(ready_to_draw(load_unet(workspace)))
    state = load_state(workspace.adapters)
    if state is not None:
        nn.ModuleDict({**model.adapters(), "images": prompts}).load_state_dict(state["model"])
    return model.eval().requires_grad_(False), prompts.eval().requires_grad_(False)
