"""The draft: a first guess of the whole picture from the caption alone, by regression.

A denoiser needs millions of pictures to learn which caption has which layout; a perceptron that maps the caption's
pooled embedding to the mean latents learns it in two minutes, since it does nothing else and costs next to nothing.
The denoiser starts from its guess and only corrects it.
"""

import time

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from model_tools.starter.autoencoder import LATENT_CHANNELS
from model_tools.starter.canvas import BUCKETS
from model_tools.starter.clock import Budget, learning_rate
from model_tools.starter.latents import LatentData
from model_tools.starter.paths import Workspace
from model_tools.starter.pictures import STYLES
from model_tools.starter.runlog import load_state, save_state
from model_tools.starter.text import WIDTH

SIDE = BUCKETS[0][0] // 8
HIDDEN = 1024
BATCH = 512
PEAK = 2e-3
# Noise on the pooled embedding, of its deviation: captions near a known one shall have a draft near its picture.
BLUR = 0.15


def pool(text: Tensor) -> Tensor:
    """Mean and maximum over a caption's tokens: [B, L, 384] to [B, 768]. Padding is all zeros and does not count."""
    used = (text.abs().sum(2, keepdim=True) > 0).to(text.dtype)
    mean = text.sum(1) / used.sum(1).clamp(min=1.0)
    return torch.cat([mean, text.amax(1)], 1)


class Draft(nn.Module):
    """Caption embeddings [B, L, 384] to a guess of the scaled latents on the native canvas, [B, 4, 16, 16]."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(2 * WIDTH)
        self.first = nn.Linear(2 * WIDTH, HIDDEN)
        self.second = nn.Linear(HIDDEN, HIDDEN)
        self.last = nn.Linear(HIDDEN, LATENT_CHANNELS * SIDE * SIDE)

    def from_pooled(self, pooled: Tensor) -> Tensor:
        """The same from what `pool` returns."""
        hidden = functional.silu(self.first(self.norm(pooled)))
        hidden = hidden + functional.silu(self.second(hidden))
        return self.last(hidden).unflatten(1, (LATENT_CHANNELS, SIDE, SIDE))

    def forward(self, text: Tensor) -> Tensor:
        return self.from_pooled(pool(text))


def training_pairs(data: LatentData) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Pooled captions [N, 768], rows into the pictures [N], the pictures' scaled latents, and each pair's weight."""
    pooled = torch.cat(
        [
            pool(torch.from_numpy(data.embeddings[i : i + 1024].astype(np.float32)))
            for i in range(0, len(data.embeddings), 1024)
        ]
    )
    latents = torch.cat([data.latents[style, BUCKETS[0]].float() * data.scale for style in STYLES])
    captions, rows, weights, offset = [], [], [], 0
    for style in STYLES:
        table = data.tables[style]
        forms = torch.cat([table.wrapped, table.bare], 1)
        captions.append(forms.flatten())
        rows.append((torch.arange(len(forms)) + offset).repeat_interleave(forms.shape[1]))
        weights.append(table.weights.sqrt().repeat_interleave(forms.shape[1]))
        offset += len(forms)
    return pooled[torch.cat(captions)], torch.cat(rows), latents, torch.cat(weights)


def train_draft(workspace: Workspace, minutes: float, *, seed: int = 2) -> None:
    """Fits the draft to all captions, and the empty caption to the mean of all pictures. Saves it."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    data, draft = LatentData(workspace), Draft()
    pooled, rows, latents, weights = training_pairs(data)
    nothing = pool(torch.from_numpy(data.embeddings[data.empty : data.empty + 1].astype(np.float32)))
    mean, noise = latents.mean(0, keepdim=True), BLUR * pooled.std(0)
    optimiser = torch.optim.AdamW(draft.parameters(), lr=PEAK, weight_decay=1e-3, fused=True)
    budget, step, shown = Budget(minutes * 60), 0, time.monotonic()
    while not budget.over():
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(PEAK, step, budget.share(), warmup=100)
        drawn = torch.multinomial(weights, BATCH, replacement=True, generator=generator)
        source = torch.cat([pooled[drawn], nothing])
        source = source + noise * torch.randn(source.shape, generator=generator)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            guess = draft.from_pooled(source)
        loss = (guess.float() - torch.cat([latents[rows[drawn]], mean])).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        step += 1
        if time.monotonic() - shown > 15:
            shown = time.monotonic()
            print(f"draft: {budget.share():.0%}, step {step}, mean square error {loss.item():.4f}", flush=True)
    save_state(workspace.draft, draft.state_dict())


def load_draft(workspace: Workspace) -> Draft:
    """The trained draft. Raises FileNotFoundError before its training."""
    state = load_state(workspace.draft)
    if state is None:
        raise FileNotFoundError(f"{workspace.draft}: train the draft first")
    draft = Draft()
    draft.load_state_dict(state)
    return draft.eval().requires_grad_(False)
