"""`python -m model_tools starter STAGE`: makes the starter family's networks, stage by stage or all at once."""

import argparse
from collections.abc import Callable
from datetime import datetime, time, timedelta
from pathlib import Path

import torch

from model_tools.training.paths import REPOSITORY, Workspace
from model_tools.training.pictures import prepare
from model_tools.training.starter.evaluation.evaluate import evaluate
from model_tools.training.starter.evaluation.evaluate_adapters import evaluate_adapters
from model_tools.training.starter.networks.text import prepare_text
from model_tools.training.starter.publish import publish, publish_adapters
from model_tools.training.starter.recover import recover_all
from model_tools.training.starter.trainers.latents import prepare_latents
from model_tools.training.starter.trainers.train_adapters import train_adapters
from model_tools.training.starter.trainers.train_decoder import train_decoder
from model_tools.training.starter.trainers.train_draft import train_draft, train_reader_again
from model_tools.training.starter.trainers.train_unet import train_unet
from model_tools.training.starter.trainers.train_vae import train_vae

STAGES = (
    *("prepare", "text", "vae", "decoder", "latents", "draft", "unet", "adapters"),
    *("export", "evaluate", "adapters-evaluate"),
)
MINUTES = {"vae": 33.0, "decoder": 42.0, "draft": 10.0, "reader": 5.0, "unet": 60.0, "adapters": 50.0, "evaluate": 4.0}


def minutes_until(clock: str, now: datetime) -> float:
    """Minutes from `now` to the next time the clock shows HH:MM. Raises ValueError for what is not a time."""
    asked = time.fromisoformat(clock)
    moment = now.replace(hour=asked.hour, minute=asked.minute, second=0, microsecond=0)
    if moment <= now:
        moment += timedelta(days=1)
    return (moment - now).total_seconds() / 60


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m model_tools starter", description=__doc__)
    parser.add_argument("stage", choices=(*STAGES, "reader", "adapters-export", "recover", "all"))
    parser.add_argument("--workspace", type=Path, default=Workspace().root, help="folder of data, states and logs")
    defaults = ", ".join(f"{stage}: {minutes:.0f}" for stage, minutes in MINUTES.items())
    parser.add_argument("--minutes", type=float, help=f"time of a training ({defaults})")
    parser.add_argument("--until", help="train until the clock shows HH:MM, in place of --minutes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run the stage asked for. Training stages go on where a killed run left off."""
    options = parse(argv)
    torch.set_num_threads(options.threads)
    workspace = Workspace(options.workspace)

    def minutes(stage: str) -> float:
        if options.until:
            return minutes_until(options.until, datetime.now().astimezone())
        return options.minutes if options.minutes is not None else MINUTES[stage]

    stages: dict[str, Callable[[], None]] = {
        "prepare": lambda: prepare(workspace),
        "text": lambda: prepare_text(workspace),
        "vae": lambda: train_vae(workspace, minutes("vae"), seed=options.seed),
        "decoder": lambda: train_decoder(workspace, minutes("decoder"), seed=options.seed),
        "latents": lambda: prepare_latents(workspace),
        "draft": lambda: train_draft(workspace, minutes("draft")),
        "reader": lambda: train_reader_again(workspace, minutes("reader")),
        "unet": lambda: train_unet(workspace, minutes("unet"), seed=options.seed),
        "adapters": lambda: train_adapters(workspace, minutes("adapters"), seed=options.seed),
        "export": lambda: publish(workspace),
        "adapters-export": lambda: publish_adapters(workspace),
        "recover": lambda: recover_all(workspace, REPOSITORY),
        "evaluate": lambda: evaluate(workspace, minutes("evaluate")),
        "adapters-evaluate": lambda: evaluate_adapters(workspace),
    }
    for stage in STAGES if options.stage == "all" else (options.stage,):
        stages[stage]()
    return 0
