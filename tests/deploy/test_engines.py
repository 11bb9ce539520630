"""The script that builds and serves TensorRT engines, with stand-ins for nvidia-smi, trtexec and tritonserver.

No machine here has a GPU: what is shown is which commands it gives, where engines go, what it leaves alone, and what it
says when something is wrong.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.tools import CHART

SCRIPT = CHART / "files" / "engines.py"
ENGINE = {
    "inputs": {
        "x": {"min": [1, 4, 16, 16], "opt": [2, 4, 64, 64], "max": [8, 4, 128, 128]},
        "t": {"min": [1, 1], "opt": [2, 1], "max": [8, 1]},
    }
}
CONFIG = """\
backend: "tensorrt"
max_batch_size: 8
input [
  { name: "x" data_type: TYPE_FP32 dims: [ 4, -1, -1 ] },
  { name: "t" data_type: TYPE_FP32 dims: [ 1 ] }
]
output [
  { name: "y" data_type: TYPE_FP32 dims: [ 4, -1, -1 ] }
]
model_warmup {
  name: "guided"
  inputs { key: "x" value { data_type: TYPE_FP32 dims: [ 4, 64, 64 ] zero_data: true } }
}
"""
PROGRAMS = {
    "nvidia-smi": 'echo "$CAPABILITIES" | tr , "\\n"',
    "trtexec": """
echo "trtexec $*" >> "$LOG"
for word in "$@"; do
  case $word in
    --saveEngine=*) plan=${word#--saveEngine=};;
    --onnx=*) graph=${word#--onnx=};;
    --exportLayerInfo=*) layers=${word#--exportLayerInfo=};;
  esac
done
grep -q broken "$graph" && { echo "Could not parse" >&2; exit 1; }
echo engine > "$plan"
echo "$LAYERS" > "$layers"
""",
    "tritonserver": 'echo "tritonserver $*" >> "$LOG"',
}


def profile(**inputs: object) -> dict[str, object]:
    return {"inputs": {**ENGINE["inputs"], **inputs}}


class World:
    """A folder with models, engines, and programs that stand in."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.models, self.engines = folder, folder / "models", folder / "engines"
        self.variables = {"CAPABILITIES": "9.0", "TRT_VERSION": "10.13.3.9", "LOG": str(folder / "log")}
        self.variables["LAYERS"] = '{"Layers": ["a"], "Bindings": ["x", "t", "y"]}'
        for name, text in PROGRAMS.items():
            path = folder / "bin" / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(f"#!/bin/bash\n{text}\n", "utf-8")
            path.chmod(0o755)
        self.model("unet", engine=ENGINE)
        self.model("matting")

    def model(self, name: str, engine: object = None, graph: str = "graph", config: str = CONFIG) -> None:
        folder = self.models / name
        (folder / "1").mkdir(parents=True, exist_ok=True)
        (folder / "config.pbtxt").write_text('backend: "python"', "utf-8")
        (folder / "1" / ("model.onnx" if engine is None else "graph.onnx")).write_text(graph, "utf-8")
        if engine is not None:
            (folder / "engine.json").write_text(json.dumps(engine), "utf-8")
            (folder / "config.tensorrt.pbtxt").write_text(config, "utf-8")

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**self.variables, "PATH": f"{self.folder / 'bin'}:/usr/bin:/bin"}
        command = [sys.executable, str(SCRIPT), *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 - ours

    def build(self) -> subprocess.CompletedProcess[str]:
        return self.run("build", "--models", str(self.models), "--engines", str(self.engines))

    @property
    def log(self) -> list[str]:
        path = Path(self.variables["LOG"])
        return path.read_text("utf-8").splitlines() if path.is_file() else []


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_engines_are_kept_by_gpu_and_version_and_are_a_repository(world: World) -> None:
    done = world.build()
    assert done.returncode == 0, done.stderr
    place = world.engines / "sm90-trt10.13.3"
    assert sorted(path.name for path in place.iterdir()) == ["matting", "unet"]
    assert (place / "unet/1/model.plan").read_text() == "engine\n"
    assert (place / "unet/config.pbtxt").read_text() == CONFIG
    assert sorted(path.name for path in (place / "unet/1").iterdir()) == ["model.plan"]
    assert not (place / "unet/1/graph.onnx").exists()
    assert (place / "matting/config.pbtxt").read_text() == 'backend: "python"'
    (line,) = world.log
    assert line == (
        f"trtexec --onnx={world.models}/unet/1/graph.onnx --saveEngine={place}/.unet.part/1/model.plan --stronglyTyped "
        "--minShapes=t:1x1,x:1x4x16x16 --optShapes=t:2x1,x:2x4x64x64 --maxShapes=t:8x1,x:8x4x128x128 "
        f"--timingCacheFile={place}/timing.cache --skipInference --exportLayerInfo={place}/.unet.part/1/layers.json"
    )


def test_models_for_a_cpu_are_left_out(world: World) -> None:
    """Triton in NVIDIA's image could not load them, and would never be ready."""
    world.model("faces")
    (world.models / "faces/1/model.py").touch()
    assert "1/3 faces: left to a CPU" in world.build().stdout
    assert not (world.engines / "sm90-trt10.13.3/faces").exists()


def test_what_is_there_is_left_alone_and_what_has_changed_is_built_again(world: World) -> None:
    world.build()
    assert "0 built or copied" in world.build().stdout
    assert len(world.log) == 1
    world.model("unet", engine={**ENGINE, "precision": "fp16"})
    assert "1 built or copied" in world.build().stdout
    assert "--fp16" in world.log[1]
    (world.models / "unet/1/graph.onnx.data").write_text("weights")
    assert "1 built or copied" in world.build().stdout
    larger = {"x": {**ENGINE["inputs"]["x"], "max": [8, 4, 192, 192]}, "t": ENGINE["inputs"]["t"]}
    world.model("unet", engine={"inputs": larger})
    assert "1 built or copied" in world.build().stdout
    assert "x:8x4x192x192" in world.log[3]
    world.variables["CAPABILITIES"] = "8.9,8.9"  # another node: two GPUs of one kind
    assert "2 built or copied" in world.build().stdout
    world.variables["TRT_VERSION"] = "10.14.0.1"
    world.build()
    assert sorted(path.name for path in world.engines.iterdir()) == [
        *("sm89-trt10.13.3", "sm89-trt10.14.0", "sm90-trt10.13.3"),
    ]


@pytest.mark.parametrize(
    ("engine", "said"),
    [
        ({}, "unet/engine.json: KeyError 'inputs'"),
        ([], "unet/engine.json: TypeError"),
        ({**ENGINE, "precision": "int3"}, "unet/engine.json: KeyError 'int3'"),
        ({"inputs": {"x": {"min": [1], "opt": [2]}}}, "unet/engine.json: KeyError 'max'"),
        ({"inputs": {"x": {"min": ["a"], "opt": [2], "max": [8]}}}, "unet/engine.json: ValueError invalid literal"),
        ({**ENGINE, "compute_capability": "new"}, "unet/engine.json: ValueError invalid literal"),
        (profile(t={"min": [4, 1], "opt": [2, 1], "max": [8, 1]}), "unet/engine.json: t: min, opt and max do not rise"),
        ({"inputs": {"x": ENGINE["inputs"]["x"]}}, "unet/engine.json has ['x'], config.tensorrt.pbtxt ['t', 'x']"),
        (profile(z={"min": [1], "opt": [1], "max": [8]}), "unet/engine.json has ['t', 'x', 'z'], config.tensorrt"),
        (profile(t={"min": [1, 2], "opt": [2, 2], "max": [8, 2]}), "unet/engine.json: t is [[1, 2], [2, 2], [8, 2]]"),
        (profile(t={"min": [1], "opt": [2], "max": [8]}), "unet/engine.json: t is [[1], [2], [8]], in config"),
        (profile(t={"min": [1, 1], "opt": [2, 1], "max": [4, 1]}), "unet/engine.json: t is [[1, 1], [2, 1], [4, 1]]"),
    ],
)
def test_a_wrong_description_is_named(world: World, engine: object, said: str) -> None:
    world.model("unet", engine=engine)
    done = world.build()
    assert (done.returncode, world.log) == (1, [])
    assert done.stderr.startswith(f"engines: {said}")


def test_a_configuration_without_tensors_is_named(world: World) -> None:
    world.model("unet", engine=ENGINE, config='backend: "tensorrt"')
    assert "unet/config.tensorrt.pbtxt has no max_batch_size, no inputs or no outputs" in world.build().stderr


@pytest.mark.parametrize(("capability", "is_built"), [("8.0", False), ("8.9", True), ("9.0", True), ("10.0", True)])
def test_fp8_wants_a_gpu_that_has_it(world: World, capability: str, is_built: bool) -> None:
    world.model("unet", engine={**ENGINE, "precision": "fp8", "compute_capability": "8.9"})
    world.variables["CAPABILITIES"] = capability
    done = world.build()
    assert (done.returncode == 0) == is_built
    assert len(world.log) == is_built
    if is_built:
        assert "--stronglyTyped" in world.log[0]
        assert "--fp8" not in world.log[0]
    else:
        assert "unet needs a GPU of compute capability 8.9 or more; this one has 8.0" in done.stderr


def test_an_engine_with_other_names_is_refused(world: World) -> None:
    world.variables["LAYERS"] = '{"Layers": [], "Bindings": ["x", "t", "latents"]}'
    done = world.build()
    assert done.returncode == 1
    assert "unet: engine has ['latents', 't', 'x'], config.tensorrt.pbtxt ['t', 'x', 'y']" in done.stderr
    assert not (world.engines / "sm90-trt10.13.3/unet").exists()


def test_an_engine_that_does_not_report_its_names_is_left_to_triton(world: World) -> None:
    """Another version of TensorRT may note down something else; Triton checks as it loads."""
    world.variables["LAYERS"] = "[]"
    done = world.build()
    assert done.returncode == 0
    assert "unet: trtexec did not report the names" in done.stderr
    assert (world.engines / "sm90-trt10.13.3/unet/1/model.plan").is_file()


def test_a_build_that_fails_leaves_what_was_there(world: World) -> None:
    world.build()
    world.model("unet", engine=ENGINE, graph="broken")
    done = world.build()
    assert done.returncode == 1
    assert "trtexec could not build unet: exit code 1" in done.stderr
    place = world.engines / "sm90-trt10.13.3"
    assert (place / "unet/1/model.plan").is_file()
    assert not list(place.glob(".*.part"))


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"CAPABILITIES": ""}, "one kind of GPU is needed, and there are none"),
        ({"CAPABILITIES": "8.9,9.0"}, "one kind of GPU is needed, and there are ['8.9', '9.0']"),
        ({"TRT_VERSION": ""}, "TRT_VERSION is not set"),
    ],
)
def test_a_machine_that_will_not_do_is_named(world: World, variables: dict[str, str], said: str) -> None:
    world.variables |= variables
    assert said in world.build().stderr


def test_models_that_are_not_there_are_named(world: World) -> None:
    done = world.run("build", "--models", str(world.folder / "none"), "--engines", str(world.engines))
    assert (done.returncode, "has no models" in done.stderr) == (1, True)
    (world.models / "unet" / "config.tensorrt.pbtxt").unlink()
    assert "unet has no config.tensorrt.pbtxt" in world.build().stderr


def test_those_of_this_gpu_are_served(world: World) -> None:
    missing = world.run("serve", "--engines", str(world.engines))
    assert (missing.returncode, "has the build been run on this kind of GPU?" in missing.stderr) == (1, True)
    world.build()
    done = world.run("serve", "--engines", str(world.engines), "--exit-on-error=false")
    assert done.returncode == 0
    closed = "shared-memory,trace,logging:imagegen=[0-9a-f]{64}"  # a key that nobody knows
    assert re.fullmatch(
        rf"tritonserver --model-repository={world.engines}/sm90-trt10.13.3 --grpc-restricted-protocol={closed} "
        rf"--http-restricted-api={closed} --model-control-mode=none --exit-on-error=false",
        world.log[-1],
    )


def test_models_that_are_named_are_served_alone_and_nobody_loads_others(world: World) -> None:
    world.build()
    engines = world.engines / "sm90-trt10.13.3"
    name = min(each.parent.name for each in engines.glob("*/config.pbtxt"))
    assert world.run("serve", "--engines", str(world.engines), f"--models={name}").returncode == 0
    (links,) = re.findall(r"--model-repository=(\S+) ", world.log[-1])
    assert {each.name: each.resolve() for each in Path(links).iterdir()} == {name: engines / name}
    assert "--model-control-mode=none" in world.log[-1]
    wrong = world.run("serve", "--engines", str(world.engines), "--models=nobody")
    assert (wrong.returncode, "nobody is not in" in wrong.stderr) == (1, True)
