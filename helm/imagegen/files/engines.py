"""TensorRT engines next to models, in NVIDIA's Triton image: built once for each kind of GPU, and served.

    python3 engines.py build --models /models --engines /engines
    python3 engines.py serve --engines /engines [--models NAME,NAME] [argument of tritonserver ...]

Engines fit one architecture of GPU and one version of TensorRT, so they are in /engines/sm90-trt10.13.3: a whole
model repository for Triton. One with `engine.json` next to its config.pbtxt is built from 1/graph.onnx by trtexec:

    {"inputs": {"x": {"min": [1, 4, 16, 16], "opt": [2, 4, 64, 64], "max": [8, 4, 128, 128]}}, "precision": "strong"}

with `config.tensorrt.pbtxt` as its configuration; `precision` is strong (as the graph says, the default), fp8 (the
same, of a graph that has it), fp16 or bf16; `compute_capability`, if it is there, is the least that a GPU must have.
Dimensions stand in the order of the graph's input. `python -m model_tools engines` writes both files; they are held
against each other before a build, and the engine's names against them after it; Triton compares types as it loads.
Other models are copied, but for those in Python (1/model.py): these want OpenVINO, and a server on a CPU. What is there
already, of the same files and command, is left as it is; a model is there whole or not at all. timing.cache keeps what
TensorRT measured of its kernels. Only the standard library is used: nothing is installed into NVIDIA's image.
"""

import argparse
import hashlib
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PRECISIONS = {"strong": "--stronglyTyped", "fp8": "--stronglyTyped", "fp16": "--fp16", "bf16": "--bf16"}
RECORD = "built.sha256"
BOUNDS = ("min", "opt", "max")
GRAPH = Path("1", "graph.onnx")
LAYERS = "layers.json"  # what an engine is made of, in trtexec's words
TRTEXEC = "/usr/src/tensorrt/bin/trtexec"  # of NVIDIA's image, where it is not on PATH
TENSOR = re.compile(r'name: "([^"]+)" data_type: \w+ dims: \[ ([-0-9, ]+) \]')


class EnginesError(Exception):
    """What an operator must mend."""


def key() -> str:
    """The kind of GPU and the version of TensorRT that engines are for, such as sm90-trt10.13.3.

    Raises:
        EnginesError: there is no GPU, several kinds of it, or no TensorRT.
    """
    version = re.match(r"\d+\.\d+\.\d+", os.environ.get("TRT_VERSION", ""))  # NVIDIA's images say it
    capability = compute_capability()
    if version is None:
        raise EnginesError("TRT_VERSION is not set: is this NVIDIA's image with TensorRT?")
    return f"sm{capability.replace('.', '')}-trt{version[0]}"


def compute_capability() -> str:
    """Of this machine's GPUs, such as 9.0.

    Raises:
        EnginesError: there is no GPU, or several kinds of it.
    """
    lines = _output("nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader").split()
    capabilities = {each for each in lines if re.fullmatch(r"\d+\.\d+", each)}
    if len(capabilities) != 1:
        raise EnginesError(f"one kind of GPU is needed, and there are {sorted(capabilities) or 'none'}")
    return capabilities.pop()


def build(models: Path, engines: Path) -> int:
    """Build and copy what is missing; returns how many models were.

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
        record = digest(source)
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


def describe(source: Path) -> dict:
    """engine.json of a model; EnginesError if it is wrong, or does not agree with the configuration that will serve."""
    name = f"{source.name}/engine.json"
    try:
        described = json.loads((source / "engine.json").read_text("utf-8"))
        shapes = {
            each: [list(map(int, three[bound])) for bound in BOUNDS] for each, three in described["inputs"].items()
        }
        flag = PRECISIONS[described.get("precision", "strong")]
        needed = [int(number) for number in described.get("compute_capability", "0.0").split(".")]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise EnginesError(f"{name}: {type(error).__name__} {error}") from None
    inputs, _, rows = tensors(source)
    if inputs.keys() != shapes.keys():
        raise EnginesError(f"{name} has {sorted(shapes)}, config.tensorrt.pbtxt {sorted(inputs)}")
    for each, three in shapes.items():
        if not _rises(*three):
            raise EnginesError(f"{name}: {each}: min, opt and max do not rise")
        if not all(_fits(shape[1:], inputs[each]) for shape in three) or three[-1][0] != rows:
            raise EnginesError(f"{name}: {each} is {three}, in config.tensorrt.pbtxt {inputs[each]} and {rows} rows")
    return {"shapes": sorted(shapes.items()), "flag": flag, "needed": needed}


def tensors(source: Path) -> tuple:
    """What config.tensorrt.pbtxt says: dims by input, dims by output, max_batch_size; EnginesError if it does not."""
    path = source / "config.tensorrt.pbtxt"
    if not path.is_file():
        raise EnginesError(f"{source.name} has no {path.name}")
    text = path.read_text("utf-8")
    parts = text.partition("\noutput [")[::2]
    found = [{name: list(map(int, dims.split(","))) for name, dims in TENSOR.findall(part)} for part in parts]
    rows = re.search(r"^max_batch_size: (\d+)$", text, re.MULTILINE)
    if rows is None or not all(found):
        raise EnginesError(f"{source.name}/{path.name} has no max_batch_size, no inputs or no outputs")
    return (*found, int(rows[1]))


def command(source: Path, plan: Path, timing: Path) -> list[str]:
    """The command line of trtexec for a model; EnginesError as `describe` has it."""
    described = describe(source)
    shapes = [
        ",".join(f"{name}:{'x'.join(map(str, three[number]))}" for name, three in described["shapes"])
        for number in range(len(BOUNDS))
    ]
    return [
        *("trtexec", f"--onnx={source / GRAPH}", f"--saveEngine={plan}", described["flag"]),
        *(f"--{bound}Shapes={shape}" for bound, shape in zip(BOUNDS, shapes)),
        *(f"--timingCacheFile={timing}", "--skipInference", f"--exportLayerInfo={plan.with_name(LAYERS)}"),
    ]


def _rises(low: list[int], middle: list[int], high: list[int]) -> bool:
    same = len(low) == len(middle) == len(high)
    return same and all(0 < a <= b <= c for a, b, c in zip(low, middle, high))


def _fits(shape: list[int], dims: list[int]) -> bool:
    return len(shape) == len(dims) and all(dim in (-1, side) for side, dim in zip(shape, dims))


def _build_one(source: Path, part: Path, timing: Path) -> None:
    plan = part / "1" / "model.plan"
    words, needed, here = command(source, plan, timing), describe(source)["needed"], compute_capability()
    if [int(number) for number in here.split(".")] < needed:
        least = ".".join(map(str, needed))
        raise EnginesError(f"{source.name} needs a GPU of compute capability {least} or more; this one has {here}")
    if not (source / GRAPH).is_file():
        raise EnginesError(f"{source.name} has no {GRAPH}")
    plan.parent.mkdir(parents=True)
    done = subprocess.run([shutil.which(words[0]) or TRTEXEC, *words[1:]], check=False)
    if done.returncode != 0 or not plan.is_file():
        raise EnginesError(f"trtexec could not build {source.name}: exit code {done.returncode}; its output is above")
    check_engine(source, plan.with_name(LAYERS))
    plan.with_name(LAYERS).unlink(missing_ok=True)
    shutil.copyfile(source / "config.tensorrt.pbtxt", part / "config.pbtxt")


def check_engine(source: Path, layers: Path) -> None:
    """Hold the names that trtexec noted down of an engine against the configuration; Triton does so again, as it loads.

    Raises:
        EnginesError: the engine's inputs and outputs have other names.
    """
    try:
        bindings = set(json.loads(layers.read_text("utf-8"))["Bindings"])
    except (OSError, ValueError, KeyError, TypeError):  # another version's words: no reason to delete an engine
        print(f"{source.name}: trtexec did not report the names of inputs and outputs", file=sys.stderr)
        return
    inputs, outputs, _ = tensors(source)
    if bindings != (names := {*inputs, *outputs}):
        raise EnginesError(f"{source.name}: engine has {sorted(bindings)}, config.tensorrt.pbtxt {sorted(names)}")


def serve(engines: Path, models: list[str], arguments: list[str]) -> None:
    """Become tritonserver, over the engines of this GPU; of the models that are named alone, if any are.

    Raises:
        EnginesError: there are none, or a model that is named is not there.
    """
    repository = engines / key()
    if not any(repository.glob("*/config.pbtxt")):
        raise EnginesError(f"there are no engines in {repository}: has the build been run on this kind of GPU?")
    if models:
        repository = chosen(repository, models)
    # Nobody calls these; they want a key that nobody knows, for Triton has no switch for them.
    closed = f"shared-memory,trace,logging:imagegen={secrets.token_hex(32)}"
    keys = [f"--grpc-restricted-protocol={closed}", f"--http-restricted-api={closed}"]
    keys.append("--model-control-mode=none")
    os.execvp("tritonserver", ["tritonserver", f"--model-repository={repository}", *keys, *arguments])


def chosen(repository: Path, models: list[str]) -> Path:
    """A repository of links to some models of another one.

    Triton itself can load named models, but only in a mode in which everybody who reaches it can load and unload.

    Raises:
        EnginesError: a model is not there.
    """
    links = Path(tempfile.mkdtemp(prefix="models-"))
    for name in models:
        if not (repository / name / "config.pbtxt").is_file():
            raise EnginesError(f"{name} is not in {repository}: is it in the group's models by its right name?")
        (links / name).symlink_to(repository / name)
    return links


def digest(folder: Path) -> str:
    """Of every file of a model, by name and content, and of the command that builds it."""
    built = (folder / "engine.json").is_file()
    total = hashlib.sha256(" ".join(command(folder, Path("plan"), Path("timing"))[2:] if built else []).encode())
    for path in sorted(each for each in folder.rglob("*") if each.is_file()):
        total.update(f"\n{path.relative_to(folder)} {path.stat().st_size}\n".encode())
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                total.update(block)
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
    serving.add_argument("--models", default="")
    arguments, more = parser.parse_known_args()
    try:
        if arguments.work == "build":
            print(f"{build(arguments.models, arguments.engines)} built or copied")
        else:
            serve(arguments.engines, [name for name in arguments.models.split(",") if name], more)
    except EnginesError as error:
        print(f"engines: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
