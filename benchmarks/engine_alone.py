"""(a) The engine alone: the graphs of a Triton repository in one process, with nothing around them.

Runs in Triton's environment (.triton), reads a Job as JSON from stdin and writes a list of Result to stdout. It opens
graphs by the function that the Triton models use, so that the engine's settings are the same.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.engine_job import Job, Result
from engines.absent import Absent
from engines.network import Network, choose_precision, read_cpu_flags


class Engine:
    """The three networks of a family."""

    def __init__(self, graphs: Mapping[str, tuple[str, str]], unet: Mapping[str, Any]) -> None:
        flags = read_cpu_flags()
        self._networks = {
            name: Network(Path(path), choose_precision(setting, flags)) for name, (path, setting) in graphs.items()
        }
        self._absent = Absent(unet, self._networks["unet"].inputs)

    def run(self, job: Job, pictures: int) -> tuple[float, float]:
        """Make some pictures in one batch, with guidance; return the wall seconds of all, and of the UNet alone.

        What is between the networks (guidance, sampler, file) is left out: it is not the engine's.
        """
        rng = np.random.default_rng(0)
        latents = rng.standard_normal((pictures, *job["latent"]), np.float32)
        start = time.perf_counter()
        ids = np.ones((2 * pictures, job["text_length"]), np.int32)
        # The engine's memory is overwritten by its next run, but each network has its own.
        hidden = self._networks["text_encoder"].run({"input_ids": ids})["hidden_states"]
        unet_start = time.perf_counter()
        for step in range(job["steps"]):
            timestep = np.full((2 * pictures, 1), 999 - 1000 * step // job["steps"], np.float32)
            sample = np.concatenate([latents, latents])
            given = {"sample": sample, "timestep": timestep, "encoder_hidden_states": hidden}
            self._networks["unet"].run(self._absent.join([given]))
        unet_seconds = time.perf_counter() - unet_start
        self._networks["vae_decoder"].run({"latents": latents})
        return time.perf_counter() - start, unet_seconds


def measure(job: Job) -> list[Result]:
    """Run the job, each measurement after one batch that is not timed."""
    engine = Engine(job["graphs"], job["unet"])
    results: list[Result] = []
    for pictures, batches in job["measurements"]:
        engine.run({**job, "steps": 1}, pictures)
        times = [engine.run(job, pictures) for _ in range(batches)]
        seconds, unet_seconds = zip(*times, strict=True)
        results.append({"pictures": pictures, "seconds": list(seconds), "unet_seconds": list(unet_seconds)})
    return results


if __name__ == "__main__":
    json.dump(measure(json.load(sys.stdin)), sys.stdout)
