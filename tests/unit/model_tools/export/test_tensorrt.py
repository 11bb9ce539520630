"""What TensorRT is given for the committed models, and that the builder of engines reads it so."""

import importlib.util
import json
import shutil
from pathlib import Path
from types import ModuleType

import pytest

pytest.importorskip("onnx")  # lives in .tools

import numpy as np
import onnx
import onnx.parser
from onnx import numpy_helper

from model_tools.export import engines_command, folders
from model_tools.export.engines_command import SCRIPT, container_command, main
from model_tools.export.tensorrt import Profile, TensorrtError, describe

ROOT = Path(__file__).parents[4]
MODELS = ROOT / "model_repository"


@pytest.fixture(scope="module")
def builder() -> ModuleType:
    """The script of the chart."""
    spec = importlib.util.spec_from_file_location("engines_script", SCRIPT)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def copy(name: str, folder: Path) -> Path:
    return Path(shutil.copytree(MODELS / name, folder / name))


def test_a_unet_takes_latents_and_pixels(tmp_path: Path, builder: ModuleType) -> None:
    folder = copy("starter_unet", tmp_path)
    describe(folder, Profile((128, 256, 512), (1, 2, 4)), "fp16")
    words = builder.command(folder, tmp_path / "plan", tmp_path / "cache")
    assert words[:4] == [
        *("trtexec", f"--onnx={folder}/1/graph.onnx", f"--saveEngine={tmp_path}/plan", "--fp16"),
    ]
    shapes = dict(part.split(":") for part in words[5].removeprefix("--optShapes=").split(","))
    assert shapes == {
        "sample": "2x8x32x32",
        "timestep": "2x1",
        "encoder_hidden_states": "2x48x384",
        "control_image": "2x3x256x256",
        "control_scale": "2x1",
        "image_embeds": "2x16x384",
        "image_scale": "2x1",
    }
    assert "sample:1x8x16x16" in words[4]
    assert "sample:4x8x64x64" in words[6]
    config = (folder / "config.tensorrt.pbtxt").read_text("utf-8")
    assert 'backend: "tensorrt"' in config
    assert "max_batch_size: 4" in config
    assert '{ name: "control_image" data_type: TYPE_FP32 dims: [ 3, -1, -1 ] }' in config
    assert 'key: "control_image" value { data_type: TYPE_FP32 dims: [ 3, 256, 256 ]' in config
    assert "optional" not in config
    assert "absent" not in config


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("starter_vae_encoder", {"image": [2, 3, 512, 512]}),
        ("starter_vae_decoder", {"latents": [2, 8, 64, 64]}),
        ("starter_text_encoder", {"input_ids": [2, 48]}),
        ("matting", {"image": [2, 3, 320, 320]}),
    ],
)
def test_every_kind_of_network(tmp_path: Path, name: str, shape: dict[str, list[int]]) -> None:
    folder = copy(name, tmp_path)
    shapes = describe(folder, Profile())
    assert {each: three[1] for each, three in shapes.items()} == shape
    described = json.loads((folder / "engine.json").read_text("utf-8"))
    assert {each: three["opt"] for each, three in described["inputs"].items()} == shape
    warm = ", ".join(map(str, next(iter(shape.values()))[1:]))
    assert f"dims: [ {warm} ] zero_data: true" in (folder / "config.tensorrt.pbtxt").read_text("utf-8")


def test_a_configuration_of_another_graph_is_refused(tmp_path: Path) -> None:
    folder = copy("starter_vae_decoder", tmp_path)
    config = folder / "config.pbtxt"
    config.write_text(config.read_text("utf-8").replace("dims: [ 8, -1, -1 ]", "dims: [ 16, -1, -1 ]"), "utf-8")
    with pytest.raises(TensorrtError, match=r"config.pbtxt does not say TYPE_FP32 \[ 8, -1, -1 \] of latents"):
        describe(folder, Profile())
    assert not (folder / "engine.json").exists()


def graph(folder: Path, inputs: str, data_type: str = "float") -> Path:
    """A model folder of a graph that gives its first input back, and has a weight of a type."""
    text = f"""
    <ir_version: 10, opset_import: ["" : 20]>
    unet ({inputs}) => (float[b, 4, "8*rows", "8*columns"] out_sample) {{ out_sample = Identity (sample) }}
    """
    model = onnx.parser.parse_model(text)
    types = {"float": onnx.TensorProto.FLOAT, "fp8": onnx.TensorProto.FLOAT8E4M3FN, "int8": onnx.TensorProto.INT8}
    types |= {"bf16": onnx.TensorProto.BFLOAT16, "fp16": onnx.TensorProto.FLOAT16}
    model.graph.initializer.append(onnx.helper.make_tensor("weight", types[data_type], [8], [0] * 8))
    (folder / "1").mkdir(parents=True)
    onnx.save(model, folder / "1" / "graph.onnx")
    folders.write_folder(folder.parent, folder.name, *folders.describe_graph(model), precision="f32", sides=(64, 64))
    return folder


LATENTS = 'float[b, 4, "8*rows", "8*columns"] sample, float[b, 1] timestep, float[b, 77, 2048] encoder_hidden_states'
ADDED = "float[b, 1280] text_embeds, float[b, 6] time_ids"
STEERED = 'float[b, 6, "64*rows", "64*columns"] control_image, float[b, 2] control_scale'


def test_sdxl_with_two_control_kinds(tmp_path: Path, builder: ModuleType) -> None:
    """Nothing is optional for TensorRT: every input has a profile, and is sent in full."""
    folder = graph(tmp_path / "xl_controlled_unet", f"{LATENTS}, {ADDED}, {STEERED}")
    describe(folder, Profile((640, 1024, 1536)))
    words = builder.command(folder, tmp_path / "model.plan", tmp_path / "cache")
    least, usual, most = ({p.split(":")[0]: p.split(":")[1] for p in w.split("=")[1].split(",")} for w in words[4:7])
    assert least["sample"] == "1x4x80x80"
    assert most == {
        "sample": "8x4x192x192",
        "timestep": "8x1",
        "encoder_hidden_states": "8x77x2048",
        "text_embeds": "8x1280",
        "time_ids": "8x6",
        "control_image": "8x6x1536x1536",
        "control_scale": "8x2",
    }
    assert usual["control_image"] == "2x6x1024x1024"
    assert words[3] == "--stronglyTyped"
    config = (folder / "config.tensorrt.pbtxt").read_text("utf-8")
    assert 'key: "time_ids" value { data_type: TYPE_FP32 dims: [ 6 ] zero_data: true }' in config


def test_wide_and_upright_pictures_are_within(tmp_path: Path) -> None:
    """SDXL's sizes, each by the two axes."""
    folder = graph(tmp_path / "xl_unet", f"{LATENTS}, {ADDED}")
    sizes = [(1024, 1024), (1536, 640), (640, 1536), (1152, 896), (832, 1216)]
    sides = [side for bucket in sizes for side in bucket]
    low, _, high = describe(folder, Profile((min(sides), 1024, max(sides))))["sample"]
    for width, height in sizes:
        assert all(
            least <= side // 8 <= most for side, least, most in zip((height, width), low[2:], high[2:], strict=True)
        )


@pytest.mark.parametrize(
    ("data_type", "precision", "flag", "capability"),
    [
        ("fp16", "strong", "--stronglyTyped", None),
        ("bf16", "strong", "--stronglyTyped", "8.0"),
        ("int8", "strong", "--stronglyTyped", None),
        ("fp8", "strong", "--stronglyTyped", "8.9"),
        ("fp8", "fp8", "--stronglyTyped", "8.9"),
        ("float", "fp16", "--fp16", None),
        ("float", "bf16", "--bf16", None),
    ],
)
def test_types_are_the_graphs(
    tmp_path: Path, builder: ModuleType, data_type: str, precision: str, flag: str, capability: str | None
) -> None:
    folder = graph(tmp_path / "unet", LATENTS, data_type)
    describe(folder, Profile(), precision)
    assert builder.command(folder, Path("plan"), Path("cache"))[3] == flag
    assert json.loads((folder / "engine.json").read_text("utf-8")).get("compute_capability") == capability


@pytest.mark.parametrize(
    ("data_type", "precision", "said"),
    [
        ("float", "fp8", "the graph has no fp8"),
        ("int8", "fp16", "its precision is strong"),
        ("fp8", "bf16", "its precision is strong"),
    ],
)
def test_a_precision_that_the_graph_has_not(tmp_path: Path, data_type: str, precision: str, said: str) -> None:
    folder = graph(tmp_path / "unet", LATENTS, data_type)
    with pytest.raises(TensorrtError, match=said):
        describe(folder, Profile(), precision)
    assert not (folder / "engine.json").exists()


def test_sides_that_the_graph_does_not_take(tmp_path: Path) -> None:
    folder = graph(tmp_path / "unet", LATENTS)
    with pytest.raises(TensorrtError, match=r"sample takes sides that are multiples of 64, not \[1000\]"):
        describe(folder, Profile((512, 512, 1000)))


def test_weights_may_be_next_to_the_graph(tmp_path: Path, builder: ModuleType) -> None:
    """A file of NAME.onnx.data counts in the digest, by which an engine is known."""
    folder = graph(tmp_path / "unet", LATENTS)
    model = onnx.load(folder / "1" / "graph.onnx")
    model.graph.initializer.append(numpy_helper.from_array(np.ones(2000, np.float32), "large"))
    onnx.save(model, folder / "1" / "graph.onnx", save_as_external_data=True, location="graph.onnx.data")
    describe(folder, Profile())
    before, config = builder.digest(folder), (folder / "config.tensorrt.pbtxt").read_text("utf-8")
    data = folder / "1" / "graph.onnx.data"
    data.write_bytes(b"\1" + data.read_bytes()[1:])
    assert builder.digest(folder) != before
    describe(folder, Profile())
    assert (folder / "config.tensorrt.pbtxt").read_text("utf-8") != config


def test_an_engine_is_known_by_graph_and_profile(tmp_path: Path, builder: ModuleType) -> None:
    folder = graph(tmp_path / "unet", LATENTS)
    digests = []
    for profile, precision in ((Profile(), "strong"), (Profile(rows=(1, 2, 4)), "strong"), (Profile(), "fp16")):
        describe(folder, profile, precision)
        digests.append(builder.digest(folder))
    assert len(set(digests)) == 3
    describe(folder, Profile())
    assert builder.digest(folder) == digests[0]


@pytest.mark.parametrize(
    ("runtime", "gpus"),
    [
        ("docker", ["--gpus", "all"]),
        ("podman", ["--device", "nvidia.com/gpu=all", "--security-opt", "label=disable"]),
    ],
)
def test_the_container_is_given_the_folders_and_the_cache(tmp_path: Path, runtime: str, gpus: list[str]) -> None:
    command = container_command([tmp_path / "a" / "unet", tmp_path / "b" / "vae"], "triton@sha256:1", runtime, tmp_path)
    assert command == [
        *(runtime, "run", "--rm", *gpus),
        *("--volume", f"{tmp_path}/a/unet:/models/unet:ro"),
        *("--volume", f"{tmp_path}/b/vae:/models/vae:ro"),
        *("--volume", f"{SCRIPT}:/scripts/engines.py:ro"),
        *("--volume", f"{tmp_path}:/engines:rw"),
        *("triton@sha256:1", "python3", "/scripts/engines.py"),
        *("build", "--models", "/models", "--engines", "/engines"),
    ]
    assert SCRIPT.is_file()


def test_building_runs_the_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin" / "podman"
    program.parent.mkdir()
    program.write_text(f'#!/bin/bash\necho "$@" > {tmp_path}/words\nexit 3\n', "utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    folder, cache = graph(tmp_path / "unet", LATENTS), tmp_path / "engines"
    words = [str(folder), "--build", "--runtime", "podman", "--cache", str(cache)]
    assert main(words) == 1
    assert main([*words, "--image", "triton"]) == 3
    assert f"{folder}:/models/unet:ro" in (tmp_path / "words").read_text("utf-8")
    assert cache.is_dir()
    monkeypatch.setenv("PATH", "/nowhere")
    assert main([*words, "--image", "triton"]) == 1


def test_the_command_of_model_tools(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = graph(tmp_path / "unet", LATENTS)
    assert engines_command.main(["--sizes", "512..1024", "--rows", "1:2:4", str(folder)]) == 0
    assert "unet: {'sample': [[1, 4, 64, 64], [2, 4, 64, 64], [4, 4, 128, 128]]" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--sides", "512:256:1024"], "sides are to rise"),
        (["--sides", "500:512:1024"], "multiples of 8"),
        (["--rows", "1:2:16"], "a model takes 8 rows, not 16"),
        (["--rows", "0:1:2"], "rows are to rise from 1 on"),
        (["--build"], "no 1/graph.onnx"),
        ([], "no 1/graph.onnx"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str) -> None:
    assert main([*words, str(tmp_path)]) == 1
    assert said in capsys.readouterr().err
