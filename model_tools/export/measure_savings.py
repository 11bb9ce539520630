"""`python -m model_tools.export.measure_savings`: what step skipping and guidance intervals save, and what they change.

    .tools/bin/python -m model_tools.export.measure_savings measure   # the starter, every sampler; writes the JSON
    .tools/bin/python -m model_tools.export.measure_savings draw      # plot, contact sheet and table from it

Pictures of the starter by the real pipeline, without Triton, each compared with the whole walk of the same sampler: 25
steps, all guided, none skipped. Cost is counted in rows that the UNet computes. What saves must beat the plain way to
save, fewer steps of the same sampler, at the same cost or a higher one. `measure` goes on where it was ended.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import sys
from dataclasses import replace
from statistics import mean
from typing import TYPE_CHECKING, Any

import numpy as np

from model_tools.export.calibration import hear_nothing
from model_tools.export.in_process import InProcess
from model_tools.export.measure_precisions import PROMPTS, ROOT, Starter, draw_sheet, psnr
from orchestrator.diffusion.inputs import PipelineInputs
from orchestrator.diffusion.pipeline import Pipeline
from orchestrator.diffusion.stages import Timer
from orchestrator.models.contracts import AddedRows, Networks
from orchestrator.params import Guidance, SamplerName

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from orchestrator.arrays import Floats, Pixels

FOLDER = ROOT / "docs" / "benchmarks"
FOUND, PLOT, SHEET = FOLDER / "savings.json", FOLDER / "savings.png", FOLDER / "savings.jpg"
STEPS, GUIDANCE_SCALE, COUNT = 25, 3.0, 3
"""Of the whole walk; and prompts, from the first of PROMPTS on. Twice the starter's own guidance: it must count."""
TOLERANCES = (0.01, 0.03, 0.08)
INTERVALS = ((0.0, 0.8), (0.0, 0.6), (0.0, 0.4), (0.2, 1.0), (0.2, 0.8))
SHOWN = "euler"
"""Sampler of the intervals and of the contact sheet."""
Measured = dict[str, Any]


class Artist:
    """Draws the first prompts with the starter, and counts the rows of its UNet."""

    def __init__(self) -> None:
        """Open the graphs."""
        self.starter, self.rows = Starter(), 0
        graphs = self.starter.graphs
        unet = InProcess(graphs["unet"])

        async def counted(
            sample: Floats, timestep: Floats, encoder_hidden_states: Floats, added: AddedRows | None = None
        ) -> Floats:
            self.rows += len(sample)
            return await unet.unet(sample, timestep, encoder_hidden_states, added)

        self.networks = Networks(
            text_encoder=InProcess(graphs["text_encoder"]).text,
            unet=counted,
            vae_decoder=InProcess(graphs["vae_decoder"]).decode,
        )
        self.pipeline = Pipeline(self.starter.family, self.starter.folder)

    def __call__(self, **changes: Any) -> tuple[list[Pixels], float]:  # noqa: ANN401  # of PipelineInputs
        """The pictures, and the mean of the rows that each took."""
        family, empty = self.starter.family, self.pipeline.tokenize("").ids
        asked = PipelineInputs(
            prompt_ids=empty,
            negative_ids=empty,
            size=family.networks.aspect_sizes[0],
            seed=0,
            sampler=SamplerName(SHOWN),
            steps=STEPS,
            guidance_scale=GUIDANCE_SCALE,
        )
        self.rows, pictures = 0, []
        for seed, prompt in enumerate(PROMPTS[:COUNT]):
            ids = self.pipeline.tokenize(family.full_prompt(prompt)).ids
            inputs = replace(asked, seed=seed, prompt_ids=ids, **changes)
            timer = Timer(family.name)
            pictures.append(asyncio.run(self.pipeline.run(self.networks, inputs, hear_nothing, timer)))
        return pictures, self.rows / COUNT


def decibels(pictures: list[Pixels], wanted: list[Pixels]) -> float:
    """Mean PSNR; pictures that are equal count as 99 dB."""
    return mean(min(99.0, psnr(picture, each)) for picture, each in zip(pictures, wanted, strict=True))


def cheapest(artist: Artist, sampler: SamplerName, rows: float) -> int:
    """Fewest steps of the sampler, all guided, that cost at least so many rows."""
    walked = artist.pipeline.rows_walked
    return next(n for n in range(1, STEPS + 1) if walked(sampler, n, 1.0, GUIDANCE_SCALE, Guidance()) >= rows - 0.5)


def points(artist: Artist, sampler: SamplerName, changes: list[dict[str, Any]]) -> Iterator[Measured]:
    """Each way to save, next to fewer steps at its cost."""
    whole, cost = artist(sampler=sampler)
    yield {"rows": cost}
    for change in changes:
        pictures, rows = artist(sampler=sampler, **change)
        steps = cheapest(artist, sampler, rows)
        fewer, at_rows = (whole, cost) if steps == STEPS else artist(sampler=sampler, steps=steps)
        interval = change.get("guidance")
        yield {
            "tolerance": change.get("skip_tolerance"),
            "interval": [interval.start, interval.end] if interval else None,
            "rows": round(rows, 2),
            "psnr": round(decibels(pictures, whole), 2),
            "steps": steps,
            "steps_rows": at_rows,
            "steps_psnr": round(decibels(fewer, whole), 2),
        }


def measure() -> None:
    """Measure what savings.json does not have yet."""
    artist = Artist()
    known: Measured = json.loads(FOUND.read_text("utf-8")) if FOUND.is_file() else {"skipping": {}, "interval": []}
    for sampler in SamplerName:
        if sampler.value not in known["skipping"]:
            tolerances: list[dict[str, Any]] = [{"skip_tolerance": tolerance} for tolerance in TOLERANCES]
            known["skipping"][sampler.value] = list(points(artist, sampler, tolerances))
            keep(known)
            print(sampler.value, known["skipping"][sampler.value], flush=True)
    if not known["interval"]:
        intervals: list[dict[str, Any]] = [{"guidance": Guidance(start=start, end=end)} for start, end in INTERVALS]
        known["interval"] = list(points(artist, SamplerName(SHOWN), intervals))
        keep(known)
    save_sheet(artist)


def keep(known: Measured) -> None:
    """Write what was measured."""
    settings = {"steps": STEPS, "guidance_scale": GUIDANCE_SCALE, "pictures": COUNT}
    FOUND.write_text(json.dumps({**known, "settings": settings}, indent=1) + "\n", "utf-8")


def save_sheet(artist: Artist) -> None:
    """Pictures of the whole walk, of both ways to save, and of fewer steps at the same cost."""
    sampler, rows = SamplerName(SHOWN), []
    ways: list[tuple[str, dict[str, Any]]] = [("whole walk", {})]
    ways += [(f"skip_tolerance {tolerance:g}", {"skip_tolerance": tolerance}) for tolerance in TOLERANCES[1:]]
    ways += [(f"guidance {s:g} to {e:g}", {"guidance": Guidance(start=s, end=e)}) for s, e in ((0, 0.6), (0.2, 0.8))]
    for name, change in ways:
        pictures, cost = artist(**change)
        rows.append((f"{name}: {cost:.0f} rows", pictures))
        if change:
            steps = cheapest(artist, sampler, cost)
            fewer, cost = artist(steps=steps)
            rows.append((f"  {steps} steps: {cost:.0f} rows", fewer))
    draw_sheet(rows, SHEET)


def draw() -> None:
    """Plot what was measured, and print it as a table."""
    known: Measured = json.loads(FOUND.read_text("utf-8"))
    plot(known, PLOT)
    print("| sampler | " + " | ".join(f"{tolerance:g}" for tolerance in TOLERANCES) + " |")
    print("| -- |" + " -- |" * len(TOLERANCES))
    for sampler, (whole, *found) in known["skipping"].items():
        cells = [f"{cost(each, whole)}: {each['psnr']:.1f} / {each['steps_psnr']:.1f}" for each in found]
        print(f"| {sampler} | " + " | ".join(cells) + " |")
    whole, *found = known["interval"]
    for each in found:
        print(f"| {each['interval']} | {cost(each, whole)} | {each['psnr']:.1f} | {each['steps_psnr']:.1f} |")


def cost(each: Measured, whole: Measured) -> str:
    """Rows as a share of the whole walk's."""
    return f"{100 * each['rows'] / whole['rows']:.0f} %"


def plot(known: Measured, path: Path) -> None:
    """Distance to the whole walk over cost: step skipping of every sampler, and guidance intervals."""
    import matplotlib as mpl  # noqa: PLC0415  # for this alone

    mpl.use("agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415  # after its backend is chosen

    panels = [*known["skipping"].items(), (f"{SHOWN}: guidance intervals", known["interval"])]
    columns = 4
    figure, axes = plt.subplots(
        math.ceil(len(panels) / columns), columns, figsize=(12, 10), sharey=True, layout="constrained"
    )
    for axis, (name, (whole, *found)) in zip(axes.flat, panels, strict=False):
        for rows, decibel, label, colour in (
            ("rows", "psnr", "saved", "C0"),
            ("steps_rows", "steps_psnr", "fewer steps", "C1"),
        ):
            line = sorted((each[rows] / whole["rows"], min(60.0, each[decibel])) for each in found)
            axis.plot(*np.transpose(line), "o-", color=colour, label=label)
        axis.set_title(name)
        axis.grid(alpha=0.3)
        axis.set_xlim(0.2, 1.05)
    for axis in axes.flat[len(panels) :]:
        axis.axis("off")
    axes.flat[0].legend()
    figure.supxlabel("rows of the UNet, share of the whole walk's")
    figure.supylabel("PSNR against the whole walk, dB (60: 60 or more)")
    figure.savefig(path, dpi=80)


def main(words: list[str]) -> int:
    """Measure, or draw what was measured."""
    parser = argparse.ArgumentParser(
        prog="python -m model_tools.export.measure_savings", description=__doc__.split("\n")[0]
    )
    parser.add_argument("work", choices=("measure", "draw"))
    {"measure": measure, "draw": draw}[parser.parse_args(words).work]()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
