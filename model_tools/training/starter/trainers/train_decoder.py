"""Trains the autoencoder's decoder further, on latents that are made once: the encoder stays as it is.

The denoiser and the adapters can be trained meanwhile, since latents no longer change.
"""

import numpy as np
import torch
from torch import Tensor, nn

from model_tools.training.clock import Budget, learning_rate
from model_tools.training.paths import Workspace
from model_tools.training.pictures import STYLES
from model_tools.training.runlog import RunLog, load_state, save_state
from model_tools.training.starter.data.compose import ALONE, COLOURS, LAYOUTS, Recipe
from model_tools.training.starter.data.library import load_composer
from model_tools.training.starter.data.scenes import SCENES
from model_tools.training.starter.trainers.latents import encode, load_autoencoder
from model_tools.training.starter.trainers.train_vae import SIDE, held_out, loss_terms, to_float

BATCH = 8
PEAK = 6e-4
COMPOSED = 1200
# On the latents, so that the decoder forgives a sampler's errors.
NOISE = 0.05
# Against blur the first legs weighed edges more; this one is for the error itself.
LOSS_WEIGHTS = {"l1": 0.4, "edge": 0.4, "low": 0.25, "mse": 10.0, "hue": 0.7}


def sample_pictures(workspace: Workspace, random: np.random.Generator, composed: int = COMPOSED) -> Tensor:
    """uint8 [N, 128, 128, 3]: all pictures that are not held out, alone on white, and some composed ones."""
    composer, rows = load_composer(workspace), []
    for style in STYLES:
        kept = [row for row in range(len(composer.pictures[style])) if not held_out(row)]
        rows += [Recipe(style, row, None, ALONE, None) for row in kept]
        for _ in range(composed // len(STYLES)):
            colour = str(random.choice(list(COLOURS))) if random.random() < 0.3 else None
            layout = int(random.integers(len(LAYOUTS)))
            rows.append(Recipe(style, int(random.choice(kept)), colour, layout, str(random.choice(list(SCENES)))))
    return torch.from_numpy(np.stack([composer.draw(row, (SIDE, SIDE), random) for row in rows]))


def psnr(output: Tensor, target: Tensor) -> Tensor:
    """PSNR in dB of each picture in [-1, 1], [B]."""
    return -10 * ((output.clamp(-1, 1) - target) / 2).square().mean((1, 2, 3)).clamp(min=1e-9).log10()


def train_decoder(
    workspace: Workspace, minutes: float, *, seed: int = 0, composed: int = COMPOSED, compiled: bool = True
) -> None:
    """Trains for `minutes` and saves the whole autoencoder."""
    torch.manual_seed(seed)
    generator, model = torch.Generator().manual_seed(seed), load_autoencoder(workspace)
    pictures = sample_pictures(workspace, np.random.default_rng(seed), composed)
    latents = encode(model, pictures.numpy())
    decoder = model.decoder.train().requires_grad_(True)
    forward = torch.compile(decoder, dynamic=False) if compiled else decoder
    optimiser = torch.optim.AdamW(decoder.parameters(), lr=PEAK, betas=(0.9, 0.99), weight_decay=1e-4, fused=True)
    budget, step, log = Budget(minutes * 60), 0, RunLog(workspace.log("decoder"), ("mse", "l1", "psnr"), every=25)
    while not budget.over():
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(PEAK, step, budget.share(), warmup=50)
        rows = torch.randint(len(pictures), (BATCH,), generator=generator)
        target = to_float(pictures[rows])
        source = latents[rows] + NOISE * torch.randn(latents[rows].shape, generator=generator)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            output = forward(source.contiguous(memory_format=torch.channels_last))
        terms = loss_terms(output.float(), target)
        optimiser.zero_grad()
        torch.stack([weight * terms[key] for key, weight in LOSS_WEIGHTS.items()]).sum().backward()
        nn.utils.clip_grad_norm_(decoder.parameters(), 1.0)
        optimiser.step()
        step += 1
        shown = {
            "mse": terms["mse"].item(),
            "l1": terms["l1"].item(),
            "psnr": psnr(output.detach(), target).mean().item(),
        }
        log.step(step, budget.used(), step * BATCH, budget.share(), shown)
    log.close()
    save_state(workspace.vae, (load_state(workspace.vae) or {}) | {"model": model.state_dict(), "decoder steps": step})
