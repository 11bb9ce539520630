"""A feature space for pictures, trained apart from the generator: a small network that distinguishes real pictures."""

import time

import torch
from torch import Tensor, nn
from torch.nn import functional

from model_tools.training.clock import Budget, learning_rate
from model_tools.training.starter.networks.image_prompt import stage

SIDE = 64
WIDTH = 128
BATCH = 96
PEAK = 3e-3
# Cosines are in [-1, 1]; a softmax over thousands of classes needs larger logits.
SHARPNESS = 20.0


class FeatureNet(nn.Module):
    """Pictures [B, 3, 64, 64] in [-1, 1] to features [B, 128] of length one."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(stage(3, 32), stage(32, 64), stage(64, 128), stage(128, 256))
        self.head = nn.Linear(256 * 4, WIDTH)

    def forward(self, image: Tensor) -> Tensor:
        pooled = functional.adaptive_avg_pool2d(self.body(image), 2).flatten(1)
        return functional.normalize(self.head(pooled), dim=1)


def augment(image: Tensor, generator: torch.Generator) -> Tensor:
    """Pictures turned, moved, scaled, mirrored, recoloured, blurred and made noisy, each by chance and its own way."""
    count = len(image)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(count, *shape, generator=generator) * (high - low) + low

    angle, size = uniform(-0.25, 0.25), uniform(0.85, 1.2)
    mirror = torch.where(uniform(0, 1) < 0.5, -1.0, 1.0)
    cosine, sine = angle.cos() * size, angle.sin() * size
    first = torch.stack([cosine * mirror, -sine, uniform(-0.12, 0.12)], 1)
    second = torch.stack([sine * mirror, cosine, uniform(-0.12, 0.12)], 1)
    grid = functional.affine_grid(torch.stack([first, second], 1), list(image.shape), align_corners=False)
    # Outside is white, as the canvas is: sampled as zero from pictures shifted so that white is zero.
    moved = functional.grid_sample(image - 1, grid, align_corners=False) + 1
    coloured = moved * uniform(0.8, 1.15, 3, 1, 1) + uniform(-0.15, 0.15, 3, 1, 1)
    factor = int(torch.randint(1, 4, (), generator=generator).item())
    blurred = functional.interpolate(functional.avg_pool2d(coloured, factor), image.shape[2:], mode="bilinear")
    noise = torch.randn(image.shape, generator=generator) * uniform(0.0, 0.12, 1, 1, 1)
    return (blurred + noise).clamp(-1, 1)


def train_features(pictures: Tensor, minutes: float, *, seed: int = 1) -> FeatureNet:
    """Learns to name each of the real pictures [N, 3, 64, 64] from augmented views of it."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    net = FeatureNet().to(memory_format=torch.channels_last)
    centres = nn.Parameter(torch.randn(len(pictures), WIDTH))
    optimiser = torch.optim.AdamW([*net.parameters(), centres], lr=PEAK, weight_decay=1e-3)
    budget, step, shown = Budget(minutes * 60), 0, time.monotonic()
    while not budget.over():
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(PEAK, step, budget.share(), warmup=50)
        rows = torch.randint(len(pictures), (BATCH,), generator=generator)
        views = augment(pictures[rows], generator).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            features = net(views)
        logits = SHARPNESS * features.float() @ functional.normalize(centres, dim=1).T
        loss = functional.cross_entropy(logits, rows, label_smoothing=0.05)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        step += 1
        if time.monotonic() - shown > 30:
            shown = time.monotonic()
            print(f"features: {budget.share():.0%}, loss {loss.item():.3f}, {step * BATCH} pictures", flush=True)
    return net.eval()


def features_of(net: FeatureNet, pictures: Tensor, *, batch: int = 256) -> Tensor:
    """Features [N, 128] of pictures [N, 3, 64, 64]."""
    with torch.inference_mode():
        return torch.cat([net(part) for part in pictures.split(batch)])


def ranks(queries: Tensor, references: Tensor, answers: Tensor) -> Tensor:
    """For each query the place (0 is first) of its answer among the references, by cosine."""
    likeness = queries @ references.T
    own = likeness.gather(1, answers.unsqueeze(1))
    return (likeness > own).sum(1)
