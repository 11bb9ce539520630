"""`python -m model_tools tools STAGE`: exports and measures the networks that belong to no family."""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from model_tools.training.paths import REPO, Workspace
from model_tools.training.tool_networks.faces import publish_faces
from model_tools.training.tool_networks.marks import publish_nsfw, publish_watermark
from model_tools.training.tool_networks.mattes import make_sheet, measure_errors
from model_tools.training.tool_networks.measure_upscalers import measure_upscalers
from model_tools.training.tool_networks.realesrgan import publish_realesrgan
from model_tools.training.tool_networks.u2net import publish_matting

PACKAGED = ("matting", "faces", "nsfw", "watermark", "realesrgan")
UPSCALERS = REPO / "docs/networks/upscalers.json"


def measure(workspace: Workspace) -> None:
    """Print how far the opacity of composites is from the true one."""
    errors = measure_errors(workspace)
    print(f"matting, mean absolute error on {len(errors)} composites: {errors.mean():.4f}, median", end=" ")
    print(f"{np.median(errors):.4f}; under 0.05: {np.mean(errors < 0.05):.0%}")


def main(argv: list[str] | None = None) -> int:
    """Run one stage."""
    parser = argparse.ArgumentParser(prog="python -m model_tools tools", description=__doc__)
    workspace = Workspace()
    stages: dict[str, Callable[[argparse.Namespace], None]] = {
        "matting": lambda options: publish_matting(options.package),
        "faces": lambda options: publish_faces(options.package),
        "nsfw": lambda options: publish_nsfw(options.package),
        "watermark": lambda options: publish_watermark(options.package),
        "realesrgan": lambda options: publish_realesrgan(options.package),
        "sheet": lambda _: make_sheet(workspace),
        "measure": lambda _: measure(workspace),
        "measure-upscalers": lambda options: measure_upscalers(UPSCALERS, options.previous),
    }
    parser.add_argument("stage", choices=stages)
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--package", "--wheel", type=Path, help=f"that the network comes in, for {', '.join(PACKAGED)}")
    parser.add_argument("--previous", type=Path, help="for measure-upscalers: a graph to compare with")
    options = parser.parse_args(argv)
    torch.set_num_threads(options.threads)
    if options.stage in PACKAGED and options.package is None:
        parser.error(f"{options.stage} needs --package")
    stages[options.stage](options)
    return 0
