"""The upscaler: a small network that doubles a picture, trained on pictures that were made smaller in many ways."""

import io

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from model_tools.starter.clock import Budget, learning_rate
from model_tools.starter.paths import Workspace
from model_tools.starter.runlog import RunLog, load_state, save_state
from model_tools.tools.composites import compose, load_pictures
from model_tools.tools.photographs import OBJECTS, TEXTURES, load
from model_tools.tools.scenes import Backgrounds, Random

FACTOR = 2
BATCH, PATCH = 16, 48
PEAK = 1.5e-3
SAVE_SECONDS = 120.0
SCALES = (cv2.INTER_AREA, cv2.INTER_AREA, cv2.INTER_CUBIC, cv2.INTER_LINEAR)


class Upscaler(nn.Module):
    """RGB [B, 3, h, w] in [-1, 1] to [B, 3, 2h, 2w]: bicubic enlarging, and what that lacks.

    Convolutions at the small size and a pixel shuffle (ESPCN, Shi et al. 2016), with skips and no norms (EDSR, Lim et
    al. 2017). The last layer begins at zero, so the untrained network is bicubic enlarging.
    """

    def __init__(self, width: int = 32, depth: int = 5) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, width, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1))
            for _ in range(depth)
        )
        self.tail = nn.Conv2d(width, 3 * FACTOR**2, 3, padding=1)
        nn.init.zeros_(self.tail.weight)
        nn.init.zeros_(self.tail.bias)

    def forward(self, image: Tensor) -> Tensor:
        features = self.head(image)
        for block in self.blocks:
            features = features + block(features)
        plain = functional.interpolate(image, scale_factor=float(FACTOR), mode="bicubic", align_corners=False)
        return plain + functional.pixel_shuffle(self.tail(features), FACTOR)


class UpscalerContract(nn.Module):
    """The network as it is served: answers within [-1, 1]."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        return self.network(image).clamp(-1.0, 1.0)


class Patches:
    """Draws pairs of a small and a large piece of a picture."""

    def __init__(self, workspace: Workspace, seed: int) -> None:
        self.pictures = load_pictures(workspace, held_out=False)
        self.backgrounds, self.random = Backgrounds(self.pictures), np.random.default_rng(seed)
        self.photographs = [load(name) for name in (*TEXTURES, *OBJECTS)]
        self.composites: list[NDArray[np.uint8]] = []

    def large(self) -> NDArray[np.uint8]:
        """A piece, uint8 [96, 96, 3]: of a photograph, at times reduced, or of a composite with text and lines."""
        side = FACTOR * PATCH
        if self.random.random() < 0.6:
            source = self.photographs[self.random.integers(len(self.photographs))]
            shrink = self.random.choice([1.0, 1.0, 0.7, 0.5])
            source = np.asarray(cv2.resize(source, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA))
        else:
            if len(self.composites) < 40 or self.random.random() < 0.1:
                made = compose(self.pictures, self.backgrounds, self.random).image.copy()
                self.composites = [*self.composites[-39:], write(made, self.random)]
            source = self.composites[self.random.integers(len(self.composites))]
        y, x = (int(self.random.integers(0, size - side + 1)) for size in source.shape[:2])
        piece = source[y : y + side, x : x + side]
        return np.ascontiguousarray(np.rot90(piece, int(self.random.integers(4))))

    def draw(self) -> tuple[Tensor, Tensor]:
        """Small [B, 3, 48, 48] and large [B, 3, 96, 96], both in [-1, 1]."""
        large = [self.large() for _ in range(BATCH)]
        small = [reduce(each, self.random) for each in large]
        return to_tensor(np.stack(small)), to_tensor(np.stack(large))


def write(picture: NDArray[np.uint8], random: Random) -> NDArray[np.uint8]:
    """The picture with some words and lines on it."""
    for _ in range(int(random.integers(0, 4))):
        ink = tuple(int(value) for value in random.integers(0, 256, 3))
        at = tuple(int(value) for value in random.integers(0, 220, 2))
        word = "".join(chr(letter) for letter in random.integers(65, 123, 6))
        cv2.putText(picture, word, at, int(random.integers(0, 8)), float(random.uniform(0.3, 1.0)), ink, 1, cv2.LINE_AA)
        end = tuple(int(value) for value in random.integers(0, 256, 2))
        cv2.line(picture, at, end, ink, int(random.integers(1, 3)), cv2.LINE_AA)
    return picture


def reduce(large: NDArray[np.uint8], random: Random) -> NDArray[np.uint8]:
    """The piece at half its size, by one of several filters, at times with noise or as a JPEG."""
    kind = SCALES[random.integers(len(SCALES))]
    small = np.asarray(cv2.resize(large, (PATCH, PATCH), interpolation=kind), np.uint8)
    if random.random() < 0.15:
        noisy = small + random.normal(0, random.uniform(1, 5), small.shape)
        small = np.clip(noisy, 0, 255).astype(np.uint8)
    if random.random() < 0.25:
        file = io.BytesIO()
        Image.fromarray(small).save(file, "JPEG", quality=int(random.integers(60, 96)))
        small = np.asarray(Image.open(file), np.uint8)
    return small


def to_tensor(pictures: NDArray[np.uint8]) -> Tensor:
    """uint8 [B, H, W, 3] to [B, 3, H, W] in [-1, 1], channels last."""
    image = torch.from_numpy(pictures).permute(0, 3, 1, 2).float().div(127.5).sub(1.0)
    return image.contiguous(memory_format=torch.channels_last)


def train_upscaler(workspace: Workspace, minutes: float, *, seed: int = 4) -> None:
    """Trains for `minutes`, going on from the saved state if there is one."""
    torch.manual_seed(seed)
    model = Upscaler().to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(model.parameters(), lr=PEAK, weight_decay=1e-4, fused=True)
    state, step, spent = load_state(workspace.root / "upscaler.pt"), 0, 0.0
    if state is not None:
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        step, spent = int(state["step"]), float(state["spent"])
    patches = Patches(workspace, seed + step)
    budget, log = Budget(minutes * 60, spent), RunLog(workspace.log("upscaler"), ("l1",), every=20)
    saved = budget.used()
    while not budget.over():
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(PEAK, step, budget.share())
        small, large = patches.draw()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            features = model(small)
        loss = (features.float() - large).abs().mean()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        step += 1
        log.step(step, budget.used(), step * BATCH, budget.share(), {"l1": loss.item()})
        if budget.used() - saved >= SAVE_SECONDS or budget.over():
            saved = budget.used()
            kept = {"model": model.state_dict(), "optimiser": optimiser.state_dict(), "step": step, "spent": saved}
            save_state(workspace.root / "upscaler.pt", kept)
    log.close()


def load_upscaler(workspace: Workspace) -> Upscaler:
    """The trained network, for inference. Raises FileNotFoundError before its training."""
    state = load_state(workspace.root / "upscaler.pt")
    if state is None:
        raise FileNotFoundError(f"{workspace.root / 'upscaler.pt'}: train the upscaler first")
    model = Upscaler()
    model.load_state_dict(state["model"])
    return model.eval().requires_grad_(False)


def gain(model: Upscaler, picture: NDArray[np.uint8]) -> tuple[float, float]:
    """PSNR in dB of Lanczos and of the network, on a picture halved by area."""
    height, width = (side // 2 * 2 for side in picture.shape[:2])
    large = picture[:height, :width]
    small = np.asarray(cv2.resize(large, (width // 2, height // 2), interpolation=cv2.INTER_AREA), np.uint8)
    plain = np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LANCZOS4), np.float64)
    with torch.inference_mode():
        answer = model(to_tensor(small[None]))[0].clamp(-1, 1).add(1).mul(127.5).permute(1, 2, 0).numpy()
    return psnr(plain, large), psnr(answer, large)


def psnr(a: NDArray[np.float64], b: NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio of 8-bit pictures, dB."""
    return float(10 * np.log10(255**2 / np.mean((a - b) ** 2)))
