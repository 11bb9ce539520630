"""TensorRT engines beside models, in NVIDIA's Triton image: built once for each kind of GPU, and served.

    python3 engines.py build --models /models --engines /engines
    python3 engines.py serve --engines /engines [argument of tritonserver ...]

Engines fit one architecture of GPU and one version of TensorRT, so they lie in /engines/sm90-trt10.13.3: a whole
model repository for Triton. One with `engine.json` beside its config.pbtxt is built from 1/graph.onnx by trtexec:

    {"inputs": {"x": {"min": [1, 4, 16, 16], "opt": [2, 4, 64, 64], "max": [8, 4, 128, 128]}}, "precision": "strong"}

with `config.tensorrt.pbtxt` as its configuration; `precision` is strong (as the graph says, the default), fp16, bf16
or fp8. Dimensions stand in the order of the graph's input. `python -m model_tools.tensorrt` writes both files.
Other models are copied, but for those in Python (1/model.py): these want OpenVINO, and a server on a CPU. What is there
already, of the same files and settings, is left as it is; a model is there whole or not at all. Only the standard
library is used: nothing is installed into NVIDIA's image.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

PRECISIONS = {"strong": "--stronglyTyped", "fp16": "--fp16", "bf16": "--bf16", "fp8": "--fp8"}
RECORD = "built.sha256"
BOUNDS = ("min", "opt", "max")
GRAPH = Path("1", "graph.onnx")


class EnginesError(Exception):
    """What an operator must mend."""


def key() -> str:
    """The kind of GPU and the version of TensorRT that engines are for, such as sm90-trt10.13.3.

    Raises:
        EnginesError: there is no GPU, several kinds of it, or no TensorRT.
    """
    lines = _output("nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader").split()
    capabilities = {each for each in lines if re.fullmatch(r"\d+\.\d+", each)}
    if len(capabilities) != 1:
        raise EnginesError(f"one kind of GPU is needed, and there are {sorted(capabilities) or 'none'}")
    version = re.match(r"\d+\.\d+\.\d+", os.environ.get("TRT_VERSION", ""))  # NVIDIA's images say it
    if version is None:
        raise EnginesError("TRT_VERSION is not set: is this NVIDIA's image with TensorRT?")
    return f"sm{capabilities.pop().replace('.', '')}-trt{version[0]}"


def build(models: Path, engines: Path) -> int:
    """Build and copy what is missing; tells how many models were.

    Raises:
        EnginesError: a model's description is wrong, or trtexec failed; models before it stay built.
    """
    target, made = engines / key(), 0
    target.mkdir(parents=True, exist_ok=True)
    names = sorted(path.parent.name for path in models.glob("*/config.pbtxt"))
    if not names:
        raise EnginesError(f"{models} has no models")
    for number, name in enumerate(names, 1):
        source, place, part = models / name, target / name, target / f".{name}.part"
        record = _digest(source)
        if (place / RECORD).is_file() and (place / RECORD).read_text("ascii") == record:
            print(f"{number}/{len(names)} {name}: there already", flush=True)
            continue
        if (source / "1" / "model.py").is_file() and not (source / "engine.json").is_file():
            print(f"{number}/{len(names)} {name}: left to a CPU", flush=True)
            continue
        shutil.rmtree(part, ignore_errors=True)
        try:
            if (source / "engine.json").is_file():
                _build_one(source, part, target / "timing.cache")
            else:
                shutil.copytree(source, part)
            (part / RECORD).write_text(record, "ascii")
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
        shutil.rmtree(place, ignore_errors=True)
        part.rename(place)
        made += 1
        print(f"{number}/{len(names)} {name}: done", flush=True)
    return made


def command(source: Path, plan: Path, timing: Path) -> list[str]:
    """The command line of trtexec for a model.

    Raises:
        EnginesError: engine.json is wrong.
    """
    try:
        described = json.loads((source / "engine.json").read_text("utf-8"))
        inputs = described["inputs"]
        precision = PRECISIONS[described.get("precision", "strong")]
        shapes = [
            ",".join(f"{name}:{'x'.join(str(int(side)) for side in inputs[name][bound])}" for name in sorted(inputs))
            for bound in BOUNDS
        ]
        wrong = [name for name in sorted(inputs) if not _rises(*(inputs[name][bound] for bound in BOUNDS))]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise EnginesError(f"{source.name}/engine.json: {type(error).__name__} {error}") from None
    if wrong:
        raise EnginesError(f"{source.name}/engine.json: {wrong[0]}: min, opt and max do not rise")
    return [
        *("trtexec", f"--onnx={source / GRAPH}", f"--saveEngine={plan}", precision),
        *(f"--{bound}Shapes={shape}" for bound, shape in zip(BOUNDS, shapes)),
        *(f"--timingCacheFile={timing}", "--skipInference"),
    ]


def _rises(low: list[int], middle: list[int], high: list[int]) -> bool:
    same = len(low) == len(middle) == len(high)
    return same and all(0 < a <= b <= c for a, b, c in zip(low, middle, high))


def _build_one(source: Path, part: Path, timing: Path) -> None:
    config, graph = source / "config.tensorrt.pbtxt", source / GRAPH
    if missing := [path.name for path in (config, graph) if not path.is_file()]:
        raise EnginesError(f"{source.name} has no {missing[0]}")
    (part / "1").mkdir(parents=True)
    plan = part / "1" / "model.plan"
    done = subprocess.run(command(source, plan, timing), check=False)
    if done.returncode != 0 or not plan.is_file():
        raise EnginesError(f"trtexec could not build {source.name}: exit code {done.returncode}; its words are above")
    shutil.copyfile(config, part / "config.pbtxt")


def serve(engines: Path, arguments: list[str]) -> None:
    """Become tritonserver, over the engines of this GPU.

    Raises:
        EnginesError: there are none.
    """
    repository = engines / key()
    if not any(repository.glob("*/config.pbtxt")):
        raise EnginesError(f"there are no engines in {repository}: has the build been run on this kind of GPU?")
    os.execvp("tritonserver", ["tritonserver", f"--model-repository={repository}", *arguments])


def _digest(folder: Path) -> str:
    """Of every file of a model, by name and content."""
    total = hashlib.sha256()
    for path in sorted(each for each in folder.rglob("*") if each.is_file()):
        with path.open("rb") as file:
            total.update(f"{path.relative_to(folder)} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return total.hexdigest()


def _output(*words: str) -> str:
    try:
        return subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise EnginesError(f"{words[0]}: {error}") from None


def main() -> int:
    """Do what was asked for; exit code 1, and a line, if it cannot be done."""
    parser = argparse.ArgumentParser(prog="engines.py")
    commands = parser.add_subparsers(dest="work", required=True)
    building = commands.add_parser("build")
    building.add_argument("--models", type=Path, required=True)
    serving = commands.add_parser("serve")
    for each in (building, serving):
        each.add_argument("--engines", type=Path, required=True)
    arguments, more = parser.parse_known_args()
    try:
        if arguments.work == "build":
            print(f"{build(arguments.models, arguments.engines)} built or copied")
        else:
            serve(arguments.engines, more)
    except EnginesError as error:
        print(f"engines: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
