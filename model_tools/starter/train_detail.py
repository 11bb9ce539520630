"""Trains the autoencoder's detail channels on what its deep networks leave out, which stay as they are."""

import numpy as np
import torch
from torch import Tensor, nn

from model_tools.starter.autoencoder import BASE_CHANNELS, Autoencoder
from model_tools.starter.clock import Budget, learning_rate
from model_tools.starter.compose import COLOURS, LAYOUTS, Recipe
from model_tools.starter.latents import load_autoencoder
from model_tools.starter.library import load_composer
from model_tools.starter.paths import Workspace
from model_tools.starter.pictures import STYLES
from model_tools.starter.runlog import RunLog, load_state, save_state
from model_tools.starter.scenes import SCENES
from model_tools.starter.train_vae import SIDE, held_out, to_float

BATCH = 48
PEAK = 2e-3
COMPOSED = 1200
NOISE = 0.05


def sample_pictures(workspace: Workspace, random: np.random.Generator, composed: int = COMPOSED) -> Tensor:
    """uint8 [N, 128, 128, 3]: all pictures that are not held out, alone on white, and some composed ones."""
    composer, rows = load_composer(workspace), []
    for style in STYLES:
        kept = [row for row in range(len(composer.pictures[style])) if not held_out(row)]
        rows += [Recipe(style, row, None, 0, None) for row in kept]
        for _ in range(composed // len(STYLES)):
            colour = str(random.choice(list(COLOURS))) if random.random() < 0.3 else None
            layout = int(random.integers(len(LAYOUTS)))
            rows.append(Recipe(style, int(random.choice(kept)), colour, layout, str(random.choice(list(SCENES)))))
    return torch.from_numpy(np.stack([composer.draw(row, (SIDE, SIDE), random) for row in rows]))


def reconstruct(model: Autoencoder, pictures: Tensor, batch: int = 32) -> tuple[Tensor, Tensor]:
    """Latents [N, 4, 16, 16] of the deep encoder and the pictures of the deep decoder, float16, by parts."""
    latents, outputs = [], []
    mean, deviation = model.encoder.norm.running_mean, model.encoder.norm.running_var
    if mean is None or deviation is None:
        raise ValueError("the encoder's norm keeps no statistics")
    mean, deviation = (x[None, :BASE_CHANNELS, None, None] for x in (mean, (deviation + model.encoder.norm.eps).sqrt()))
    with torch.inference_mode():
        for part in pictures.split(batch):
            image = to_float(part).contiguous(memory_format=torch.channels_last)
            base = (model.encoder.body(image) - mean) / deviation
            latents.append(base.half())
            outputs.append(model.decoder.body(torch.tanh(base / 3) * 3).half())
    return torch.cat(latents), torch.cat(outputs)


def psnr(output: Tensor, target: Tensor) -> Tensor:
    """PSNR in dB of each picture in [-1, 1], [B]."""
    return -10 * ((output.clamp(-1, 1) - target) / 2).square().mean((1, 2, 3)).clamp(min=1e-9).log10()


def train_detail(workspace: Workspace, minutes: float, *, seed: int = 0, composed: int = COMPOSED) -> None:
    """Trains the detail channels for `minutes` and saves the whole autoencoder."""
    torch.manual_seed(seed)
    random, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    model = load_autoencoder(workspace)
    pictures = sample_pictures(workspace, random, composed)
    base, outputs = reconstruct(model, pictures)
    parts = nn.ModuleList([model.encoder.detail, model.decoder.detail]).train().requires_grad_(True)
    norm = nn.BatchNorm2d(model.encoder.norm.num_features - BASE_CHANNELS, affine=False)
    optimiser = torch.optim.AdamW(parts.parameters(), lr=PEAK, betas=(0.9, 0.99), weight_decay=1e-4, fused=True)
    budget, step = Budget(minutes * 60), 0
    log = RunLog(workspace.log("detail"), ("mse", "psnr"))
    while not budget.over():
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(PEAK, step, budget.share())
        rows = torch.randint(len(pictures), (BATCH,), generator=generator)
        target = to_float(pictures[rows])
        added = norm.train(budget.share() < 0.7)(model.encoder.detail(target))
        latents = torch.cat([base[rows].float(), added], 1)
        latents = torch.tanh((latents + NOISE * torch.randn(latents.shape, generator=generator)) / 3) * 3
        output = outputs[rows].float() + model.decoder.detail(latents)
        loss = (output - target).square().mean()
        optimiser.zero_grad()
        (loss + 0.1 * (output - target).abs().mean()).backward()
        optimiser.step()
        step += 1
        quality = psnr(output.detach(), target).mean().item()
        log.step(step, budget.used(), step * BATCH, budget.share(), {"mse": loss.item(), "psnr": quality})
    log.close()
    keep_statistics(model, norm)
    state = load_state(workspace.vae) or {}
    save_state(workspace.vae, state | {"model": model.state_dict(), "detail minutes": minutes})


def keep_statistics(model: Autoencoder, norm: nn.BatchNorm2d) -> None:
    """Puts the detail channels' mean and variance beside those of the first four."""
    for name in ("running_mean", "running_var"):
        getattr(model.encoder.norm, name)[BASE_CHANNELS:] = getattr(norm, name)
