"""`python -m model_tools tools STAGE`: trains and exports the networks that belong to no family."""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from model_tools.training.paths import REPO, Workspace
from model_tools.training.tool_networks.marks import publish_nsfw, publish_watermark
from model_tools.training.tool_networks.matting import held_out_errors, train_matting
from model_tools.training.tool_networks.measure_upscalers import measure_upscalers
from model_tools.training.tool_networks.publish import publish_faces, publish_matting, recover_matting
from model_tools.training.tool_networks.realesrgan import publish_realesrgan
from model_tools.training.tool_networks.sheet import make_sheet

MINUTES = {"matting": 45.0}
UPSCALERS = REPO / "docs/networks/upscalers.json"


def measure(workspace: Workspace) -> None:
    """Print how good the trained networks are on what they never saw."""
    errors = held_out_errors(workspace)
    print(f"matting, mean absolute error on {len(errors)} held-out composites: {errors.mean():.4f}, median", end=" ")
    print(f"{np.median(errors):.4f}; under 0.05: {np.mean(errors < 0.05):.0%}")


def main(argv: list[str] | None = None) -> int:
    """Run one stage."""
    parser = argparse.ArgumentParser(prog="python -m model_tools tools", description=__doc__)
    workspace = Workspace()
    stages: dict[str, Callable[[argparse.Namespace], None]] = {
        "matting": lambda options: train_matting(workspace, options.minutes or MINUTES["matting"]),
        "faces": lambda options: publish_faces(options.wheel),
        "nsfw": lambda options: publish_nsfw(options.wheel),
        "watermark": lambda options: publish_watermark(options.wheel),
        "realesrgan": lambda options: publish_realesrgan(options.wheel),
        "recover-matting": lambda options: recover_matting(workspace, options.minutes or MINUTES["matting"]),
        "export-matting": lambda _: publish_matting(workspace),
        "sheet": lambda _: make_sheet(workspace),
        "measure": lambda _: measure(workspace),
        "measure-upscalers": lambda options: measure_upscalers(UPSCALERS, options.previous),
    }
    parser.add_argument("stage", choices=stages)
    parser.add_argument("--minutes", type=float, help="of training")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument(
        "--wheel", type=Path, help="for faces, nsfw, watermark and realesrgan: the package of the networks"
    )
    parser.add_argument("--previous", type=Path, help="for measure-upscalers: a graph to compare with")
    options = parser.parse_args(argv)
    torch.set_num_threads(options.threads)
    if options.stage in {"faces", "nsfw", "watermark", "realesrgan"} and options.wheel is None:
        parser.error(f"{options.stage} needs --wheel")
    stages[options.stage](options)
    return 0
