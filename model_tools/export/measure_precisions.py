"""`python -m model_tools.export.measure_precisions`: what float32, bfloat16 and int8 cost and lose on this CPU.

    .tools/bin/python -m model_tools.export.measure_precisions quality   # the starter: 16 pictures in every form
    .tools/bin/python -m model_tools.export.measure_precisions speed     # a UNet of SD 1.5's size: seconds, memory

`quality` draws the same prompts with the same seeds by the real pipeline and prints PSNR against float32; a contact
sheet goes to docs/models/precisions.jpg. `speed` makes a UNet of random weights in .bench/precisions (git-ignored, 8
GB), and runs each form in a process of its own, one after the other and several times round, so that whatever else this
machine does falls on all of them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from engines.network import Network, Precision, find_graph
from engines.rows import Tensors
from model_tools.export.calibration import Recorder, hear_nothing
from model_tools.export.in_process import InProcess
from model_tools.export.quantize import quantize
from orchestrator.arrays import Pixels
from orchestrator.diffusion.inputs import PipelineInputs
from orchestrator.diffusion.pipeline import Pipeline
from orchestrator.diffusion.stages import Timer
from orchestrator.models.contracts import Networks
from orchestrator.models.families import Families

ROOT = Path(__file__).parents[2]
WORK = ROOT / ".bench" / "precisions"
SHEET = ROOT / "docs" / "models" / "precisions.jpg"
PROMPTS = (
    *("a red apple", "two cats", "a castle on a hill", "a smiling face", "a blue car", "a slice of pizza"),
    *("a tree in autumn", "a robot", "a rocket", "a guitar", "a dog with a hat", "a sailing boat"),
    *("a birthday cake", "a yellow flower", "a house in the snow", "a green dragon"),
)
"""The seed of a picture is its place here."""
ROUNDS, STEPS = 3, 2
LATENTS, TEXT = (2, 4, 64, 64), (2, 77, 768)


@dataclass(frozen=True, slots=True)
class Form:
    """A form of one network: its graph, and what is computed in what is not int8."""

    name: str
    graph: Path
    precision: Precision
    role: str = "unet"


class Starter:
    """The starter's family, without Triton."""

    def __init__(self) -> None:
        families = Families.load(ROOT / "families" / "families.toml")
        self.folder, self.family = families.folder, families.get(None)
        self.graphs = {
            role: find_graph(ROOT / "model_repository" / name / "1")
            for role, name in self.family.networks.roles.items()
        }

    def draw(self, form: Form | None = None, record: dict[str, list[Tensors]] | None = None) -> list[Pixels]:
        """A picture of each prompt at the first aspect size, in float32 but for the form; inputs can be recorded."""
        family, pipeline = self.family, Pipeline(self.family, self.folder)
        opened = {
            role: InProcess(self.graphs[role], record=None if record is None else record.setdefault(role, []))
            if form is None or form.role != role
            else InProcess(form.graph, form.precision)
            for role in ("text_encoder", "unet", "vae_decoder")
        }
        networks = Networks(
            text_encoder=opened["text_encoder"].text,
            unet=opened["unet"].unet,
            vae_decoder=opened["vae_decoder"].decode,
        )
        first = PipelineInputs(
            prompt_ids=pipeline.tokenize("").ids,
            negative_ids=pipeline.tokenize("").ids,
            size=family.networks.aspect_sizes[0],
            seed=0,
            sampler=family.default_sampler,
            steps=family.default_steps,
            guidance_scale=family.default_guidance_scale,
        )
        pictures = []
        for seed, prompt in enumerate(PROMPTS):
            inputs = replace(first, seed=seed, prompt_ids=pipeline.tokenize(family.full_prompt(prompt)).ids)
            pictures.append(asyncio.run(pipeline.run(networks, inputs, hear_nothing, Timer(family.name))))
        return pictures

    def forms(self, record: Mapping[str, list[Tensors]]) -> Iterator[Form]:
        """The forms to compare with float32. The UNet is calibrated as model_tools add does it, the others by `record`.

        Those are calibrated with the very inputs that they are measured with: the best that they can be.
        """
        graph, quantised = self.graphs["unet"], WORK / "starter" / "unet.onnx"
        recorded = Recorder(self.family, self.folder, (self.graphs["text_encoder"],))(graph)
        quantize(graph, quantised, recorded, "int8")
        yield Form("bf16", graph, "bf16")
        yield Form("int8, the rest f32", quantised, "f32")
        yield Form("int8, the rest bf16", quantised, "bf16")
        for role in ("text_encoder", "vae_decoder"):
            path = WORK / "starter" / f"{role}.onnx"
            quantize(self.graphs[role], path, record[role], "int8")
            yield Form(f"int8 {role.replace('_', ' ')}, the UNet f32", path, "f32", role)


def quality() -> None:
    """Print PSNR of the starter's pictures in every form against float32, and draw the sheet."""
    starter, record = Starter(), dict[str, list[Tensors]]()
    reference = starter.draw(record=record)
    sheet = [("f32", reference)]
    for form in starter.forms(record):
        pictures = starter.draw(form)
        sheet.append((form.name, pictures))
        values = [psnr(picture, wanted) for picture, wanted in zip(pictures, reference, strict=True)]
        print(f"{form.name}: PSNR {statistics.mean(values):.1f} dB, least {min(values):.1f} dB", flush=True)
    draw_sheet(sheet, SHEET)


def psnr(picture: Pixels, wanted: Pixels) -> float:
    """Peak signal-to-noise ratio in dB, of pictures of 8 bits; infinite if they are equal."""
    error = float(np.mean((picture.astype(np.float64) - wanted) ** 2))
    return float("inf") if error == 0 else 10 * float(np.log10(255**2 / error))


def draw_sheet(rows: list[tuple[str, list[Pixels]]], path: Path) -> None:
    """One row of pictures for each form, its name above them."""
    from PIL import Image, ImageDraw  # noqa: PLC0415  # for this alone

    height, width = rows[0][1][0].shape[:2]
    line = 16
    sheet = Image.new("RGB", (width * len(rows[0][1]), (height + line) * len(rows)), "white")
    draw = ImageDraw.Draw(sheet)
    for number, (name, pictures) in enumerate(rows):
        top = number * (height + line)
        draw.text((4, top + 2), name, fill="black")
        for column, picture in enumerate(pictures):
            sheet.paste(Image.fromarray(picture), (column * width, top + line))
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path, quality=88)


def speed() -> None:
    """Print seconds of a step, and memory, of a UNet of SD 1.5's size in every form: medians over all rounds."""
    forms = list(_sd15_forms())
    measured: dict[str, list[Mapping[str, list[float]]]] = {form.name: [] for form in forms}
    for number in range(ROUNDS):
        for form in forms:
            words = [sys.executable, "-m", __spec__.name, "step", str(form.graph), form.precision]
            done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT)  # noqa: S603 - ours
            measured[form.name].append(json.loads(done.stdout.splitlines()[-1]))
            print(f"round {number + 1}, {form.name}: {done.stdout.splitlines()[-1]}", flush=True)
    base = measured[forms[0].name]
    for form in forms:
        seconds = statistics.median(each for one in measured[form.name] for each in one["seconds"])
        ratios = [
            statistics.median(before["seconds"]) / statistics.median(here["seconds"])
            for before, here in zip(base, measured[form.name], strict=True)
        ]
        peak, resident = (max(one[key][0] for one in measured[form.name]) for key in ("peak", "resident"))
        size = sum(file.stat().st_size for file in form.graph.parent.glob(f"{form.graph.stem}.*"))
        print(
            f"{form.name}: {seconds:.2f} s a step, {statistics.median(ratios):.2f} times as fast as f32"
            f" ({min(ratios):.2f} to {max(ratios):.2f}), {size / 1e9:.2f} GB of files, {resident:.2f} GB resident,"
            f" at most {peak:.2f} GB"
        )


def _sd15_forms() -> Iterator[Form]:
    whole, halved, quantised = (WORK / name / "graph.onnx" for name in ("whole", "halved", "quantised"))
    if not quantised.is_file():
        _make_sd15(whole, halved, quantised)
    yield Form("f32", whole, "f32")
    yield Form("f32, weights stored in fp16", halved, "f32")
    yield Form("bf16, weights stored in fp16", halved, "bf16")
    yield Form("int8, the rest f32", quantised, "f32")
    yield Form("int8, the rest bf16", quantised, "bf16")


def _make_sd15(whole: Path, halved: Path, quantised: Path) -> None:
    """The same random weights three times."""
    import torch  # noqa: PLC0415  # a step needs none, and its memory would be counted
    from diffusers import UNet2DConditionModel  # noqa: PLC0415  # the same

    from model_tools.export import graphs  # noqa: PLC0415  # the same

    torch.manual_seed(0)
    unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=TEXT[2], attention_head_dim=8).eval()
    for path, is_half in ((whole, False), (halved, True)):
        if path.is_file():  # of a run that was ended
            continue
        graphs.export_unet(unet, path, text_length=TEXT[1], text_width=TEXT[2], fp16_weights=is_half)
    del unet
    quantize(whole, quantised, [_inputs(seed) for seed in range(2)], "int8")  # ranges do not matter to time


def _inputs(seed: int) -> Tensors:
    random = np.random.default_rng(seed)
    timestep = np.full((LATENTS[0], 1), 500, np.float32)
    sample, hidden = (random.standard_normal(shape, np.float32) for shape in (LATENTS, TEXT))
    return {"sample": sample, "timestep": timestep, "encoder_hidden_states": hidden}


def step(graph: Path, precision: Precision) -> None:
    """Print as JSON the seconds of some steps, and this process's memory in GB after them and at its most."""
    network, given = Network(graph, precision), _inputs(0)
    seconds: list[float] = []
    for _ in range(1 + STEPS):
        start = time.perf_counter()
        network.run(given)
        seconds.append(time.perf_counter() - start)
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text("utf-8").splitlines())
    peak, resident = (int(status[key].split()[0]) * 1024 / 1e9 for key in ("VmHWM", "VmRSS"))
    print(json.dumps({"seconds": seconds[1:], "peak": [peak], "resident": [resident]}))


def main(words: list[str]) -> int:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m model_tools.export.measure_precisions", description=__doc__.split("\n")[0]
    )
    commands = parser.add_subparsers(dest="work", required=True)
    for name in ("quality", "speed"):
        commands.add_parser(name)
    one = commands.add_parser("step", help="used by speed")
    one.add_argument("graph", type=Path)
    one.add_argument("precision", choices=("f32", "bf16"))
    arguments = parser.parse_args(words)
    if arguments.work == "step":
        step(arguments.graph, arguments.precision)
    else:
        {"quality": quality, "speed": speed}[arguments.work]()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
