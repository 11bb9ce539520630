"""Trains the matting network on composites, measures it on concepts that it never saw, and exports it."""

import math
from collections import deque

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from model_tools.training.clock import Budget, learning_rate
from model_tools.training.paths import Workspace
from model_tools.training.runlog import RunLog, load_state, save_state
from model_tools.training.tool_networks.composites import Composite, compose, load_pictures
from model_tools.training.tool_networks.matting_net import MattingNet
from model_tools.training.tool_networks.scenes import Backgrounds, Random

PEAK = 2.5e-3
SAVE_SECONDS = 120.0
# For the first three quarters of the time training sees everything at half size, four times as fast; what stands out,
# and where it ends, is learnt there. The rest, at full size, is for fine borders.
COARSE_SHARE = 0.72
COARSE_BATCH, BATCH = 24, 8
# Composing a picture takes as long as learning from it at half size: of a batch one in six is new, the others are drawn
# from the latest, mirrored and lit differently.
NEW_SHARE = 1 / 6
POOL = 3000
# How much more a pixel counts that is neither quite inside nor quite outside.
BORDER_WEIGHT = 3.0


def to_tensors(composites: list[Composite]) -> tuple[Tensor, Tensor]:
    """Pictures [B, 3, 256, 256] in [-1, 1] and alphas [B, 1, 256, 256] in [0, 1]."""
    images = torch.from_numpy(np.stack([each.image for each in composites])).permute(0, 3, 1, 2)
    alphas = torch.from_numpy(np.stack([each.alpha for each in composites]))[:, None]
    return images.float().div(127.5).sub(1.0).contiguous(memory_format=torch.channels_last), alphas.float().div(255)


def losses(logits: Tensor, alpha: Tensor) -> dict[str, Tensor]:
    """Cross-entropy, absolute error (both weighted towards borders), and the error of alpha's slopes."""
    border = functional.max_pool2d(alpha, 9, 1, 4) + functional.max_pool2d(-alpha, 9, 1, 4)
    weight = 1 + BORDER_WEIGHT * border
    guess = torch.sigmoid(logits)
    error = guess - alpha
    slopes = (error[..., 1:] - error[..., :-1]).abs().mean() + (error[..., 1:, :] - error[..., :-1, :]).abs().mean()
    entropy = functional.binary_cross_entropy_with_logits(logits, alpha, weight=weight)
    return {"entropy": entropy, "error": (weight * error.abs()).mean(), "slopes": slopes}


class Pool:
    """The latest composites, and new ones."""

    def __init__(self, workspace: Workspace, random: Random) -> None:
        self.pictures, self.random = load_pictures(workspace, held_out=False), random
        self.backgrounds = Backgrounds(self.pictures)
        self.latest: deque[Composite] = deque(maxlen=POOL)

    def draw(self, size: int) -> tuple[Tensor, Tensor]:
        """A batch, as `to_tensors` gives it."""
        for _ in range(max(size - len(self.latest), math.ceil(size * NEW_SHARE))):
            self.latest.append(compose(self.pictures, self.backgrounds, self.random))
        chosen = [self.latest[self.random.integers(len(self.latest))] for _ in range(size)]
        image, alpha = to_tensors(chosen)
        light = torch.from_numpy(self.random.uniform(0.8, 1.2, (size, 3, 1, 1)).astype(np.float32))
        image = ((image + 1) * light - 1).clamp(-1, 1)
        mirrored = torch.from_numpy(self.random.random(size) < 0.5)
        image[mirrored], alpha[mirrored] = image[mirrored].flip(3), alpha[mirrored].flip(3)
        return image, alpha


def train_matting(workspace: Workspace, minutes: float, *, seed: int = 3) -> None:
    """Trains for `minutes`, going on from the saved state if there is one."""
    torch.manual_seed(seed)
    model = MattingNet().to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(model.parameters(), lr=PEAK, weight_decay=1e-3, fused=True)
    step, images, spent = restore(workspace, model, optimiser)
    pool = Pool(workspace, np.random.default_rng((seed, step)))
    budget, log = (
        Budget(minutes * 60, spent),
        RunLog(workspace.log("matting"), ("entropy", "error", "slopes"), every=20),
    )
    saved = budget.used()
    while not budget.over():
        coarse = budget.share() < COARSE_SHARE
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(PEAK, step, budget.share())
        image, alpha = pool.draw(COARSE_BATCH if coarse else BATCH)
        if coarse:
            image, alpha = (functional.avg_pool2d(each, 2) for each in (image, alpha))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = model(image)
        terms = losses(logits.float(), alpha)
        optimiser.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        step, images = step + 1, images + len(image)
        values = {name: term.item() for name, term in terms.items()}
        log.step(step, budget.used(), images, budget.share(), values)
        if budget.used() - saved >= SAVE_SECONDS:
            saved = budget.used()
            save(workspace, model, optimiser, (step, images, saved))
    log.close()
    save(workspace, model, optimiser, (step, images, budget.used()))


def save(
    workspace: Workspace, model: nn.Module, optimiser: torch.optim.Optimizer, counts: tuple[int, int, float]
) -> None:
    """Keeps a state with its steps, pictures and seconds spent."""
    state = {"model": model.state_dict(), "optimiser": optimiser.state_dict()}
    save_state(workspace.root / "matting.pt", state | dict(zip(("step", "images", "spent"), counts, strict=True)))


def restore(workspace: Workspace, model: MattingNet, optimiser: torch.optim.Optimizer) -> tuple[int, int, float]:
    """Puts the saved state back. Returns the steps, pictures and seconds spent, zeros where there is none."""
    state = load_state(workspace.root / "matting.pt")
    if state is None:
        return 0, 0, 0.0
    model.load_state_dict(state["model"])
    optimiser.load_state_dict(state["optimiser"])
    return int(state["step"]), int(state["images"]), float(state["spent"])


def load_matting(workspace: Workspace) -> MattingNet:
    """The trained network, for inference. Raises FileNotFoundError before its training."""
    state = load_state(workspace.root / "matting.pt")
    if state is None:
        raise FileNotFoundError(f"{workspace.root / 'matting.pt'}: train the matting network first")
    model = MattingNet()
    model.load_state_dict(state["model"])
    return model.eval().requires_grad_(False)


def held_out_errors(workspace: Workspace, count: int = 400, *, seed: int = 9) -> NDArray[np.float64]:
    """Mean absolute error of alpha [count] on composites of concepts that training never saw."""
    model, pictures = load_matting(workspace), load_pictures(workspace, held_out=True)
    backgrounds, random = Backgrounds(pictures), np.random.default_rng(seed)
    found: list[float] = []
    for _ in range(count):
        image, alpha = to_tensors([compose(pictures, backgrounds, random)])
        with torch.inference_mode():
            found.append((torch.sigmoid(model(image)) - alpha).abs().mean().item())
    return np.array(found)


def predict(model: MattingNet, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Alpha [H, W] of a picture [H, W, 3], by way of 256 x 256."""
    image = torch.tensor(picture).permute(2, 0, 1)[None].float().div(127.5).sub(1.0)
    small = functional.interpolate(image, (256, 256), mode="area")
    with torch.inference_mode():
        alpha = torch.sigmoid(model(small))
    result: NDArray[np.float32] = functional.interpolate(alpha, picture.shape[:2], mode="bilinear")[0, 0].numpy()
    return result
