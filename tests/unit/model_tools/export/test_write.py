"""Model folders of a small network, for every engine and precision: what is in them, and what is refused."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the tools' environment: make test-tools")

import onnx  # noqa: E402
from torch import nn  # noqa: E402

from engines.network import Network  # noqa: E402
from model_tools.export import onnx_weights, recipes, verify  # noqa: E402
from model_tools.export.examples import latent_cases, latent_graph  # noqa: E402
from model_tools.export.graphs import ExportError  # noqa: E402
from model_tools.export.parts import Part  # noqa: E402
from model_tools.export.runners import open_with_onnxruntime  # noqa: E402
from model_tools.export.tensorrt import Profile  # noqa: E402
from model_tools.export.write import write_part  # noqa: E402

pytestmark = [
    pytest.mark.tools,
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning"),
]


class Small(nn.Module):  # type: ignore[misc]  # torch has no types where mypy runs
    """Latents to a picture of twice their size: convolutions, and a layer that is large enough to be halved."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(4, 32, 3, padding=1), nn.Conv2d(32, 3, 3, padding=1)
        self.middle, self.product = nn.Conv2d(32, 32, 3, padding=1), nn.Linear(32, 32)

    def forward(self, latents: Any) -> Any:
        hidden = self.middle(nn.functional.silu(self.first(latents)))
        hidden = self.product(hidden.movedim(1, 3)).movedim(3, 1)
        return self.last(nn.functional.interpolate(nn.functional.silu(hidden), scale_factor=2.0))


def small() -> nn.Module:
    torch.manual_seed(0)
    return Small()


def part(build: Callable[[], nn.Module] = small, role: str = "vae_decoder", *, exact: bool = False) -> Part:
    return Part(role, build, latent_graph(4), latent_cases(4), (8, 8), exact)


def types(path: Path) -> set[str]:
    """The types of a graph's large weights."""
    model = onnx.load(path)
    kinds = {tensor.data_type for tensor in model.graph.initializer if np.prod(tensor.dims) >= 1024}
    return {onnx.TensorProto.DataType.Name(kind) for kind in kinds}


@pytest.mark.parametrize(
    ("precision", "stored", "computed"),
    [("fp32", "FLOAT", "f32"), ("fp16", "FLOAT16", "f32"), ("bf16", "FLOAT16", "bf16"), ("int8", "INT8", "f32")],
)
def test_openvino(tmp_path: Path, precision: Any, stored: str, computed: str) -> None:
    folder = tmp_path / "small_unet"
    written = write_part(part(role="unet"), folder, precision=precision, engine="openvino")
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*")) == [
        *("1", "1/graph.onnx", "1/model.py", "config.pbtxt"),
    ]
    graph = folder / "1" / "graph.onnx"
    config = (folder / "config.pbtxt").read_text("utf-8")
    assert written.bytes == graph.stat().st_size
    assert written.sha256 == hashlib.sha256(graph.read_bytes()).hexdigest()
    assert written.sha256 in config
    assert f'key: "precision" value {{ string_value: "{computed}" }}' in config
    assert re.search(r"max_batch_size: 8\n", config)
    assert "dynamic_batching { }" in config
    assert "dims: [ 4, 8, 8 ] zero_data: true" in config
    assert "backend" not in config
    assert stored in types(graph)
    least = {"fp32": 0, "fp16": 0, "bf16": 1e-4, "int8": 1e-4}[precision]
    assert least <= written.check.against_torch <= recipes.choose(part(role="unet"), "openvino", precision).bound
    assert written.check.between_rows == 0


@pytest.mark.parametrize(("precision", "stored"), [("fp32", "FLOAT"), ("fp16", "FLOAT16"), ("int8", "INT8")])
def test_onnx_runtime(tmp_path: Path, precision: Any, stored: str) -> None:
    folder = tmp_path / "small_unet"
    written = write_part(part(role="unet"), folder, precision=precision, engine="onnx")
    assert [path.name for path in (folder / "1").iterdir()] == ["model.onnx"]
    graph = folder / "1" / "model.onnx"
    assert stored in types(graph)
    model = onnx.load(graph)
    for value in (*model.graph.input, *model.graph.output):
        assert value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT  # on the wire, whatever the weights are
    config = (folder / "config.pbtxt").read_text("utf-8")
    assert written.sha256 in config
    assert f'key: "precision" value {{ string_value: "{precision}" }}' in config


@pytest.mark.parametrize(("precision", "stored"), [("fp16", "FLOAT16"), ("bf16", "BFLOAT16"), ("fp8", "FLOAT8E4M3FN")])
def test_tensorrt_is_given_what_to_build(tmp_path: Path, precision: Any, stored: str) -> None:
    folder = tmp_path / "small_unet"
    profile = Profile((256, 512, 768))
    written = write_part(part(role="unet"), folder, precision=precision, engine="tensorrt", profile=profile)
    assert sorted(path.name for path in folder.iterdir()) == [
        *("1", "config.pbtxt", "config.tensorrt.pbtxt", "engine.json"),
    ]
    assert [path.name for path in (folder / "1").iterdir()] == ["graph.onnx"]
    assert written.sha256 in (folder / "config.tensorrt.pbtxt").read_text("utf-8")
    assert stored in types(folder / "1" / "graph.onnx")
    onnx.checker.check_model(onnx.load(folder / "1" / "graph.onnx"))


@pytest.mark.parametrize("engine", ["openvino", "onnx"])
def test_an_exact_part_is_computed_in_float32(tmp_path: Path, engine: Any) -> None:
    folder = tmp_path / "small_vae"
    precision = "bf16" if engine == "openvino" else "fp16"
    written = write_part(part(exact=True), folder, precision=precision, engine=engine)  # type: ignore[arg-type]
    assert written.check.against_torch < 1e-5
    if engine == "openvino":
        assert 'key: "precision" value { string_value: "f32" }' in (folder / "config.pbtxt").read_text("utf-8")


def test_only_denoisers_are_quantised(tmp_path: Path) -> None:
    write_part(part(), tmp_path / "small_vae", precision="int8", engine="openvino")
    assert types(tmp_path / "small_vae" / "1" / "graph.onnx") == {"FLOAT16"}


def test_calibration_sees_the_float_graph(tmp_path: Path) -> None:
    seen: list[set[str]] = []

    def calibrate(graph: Path) -> list[dict[str, Any]]:
        seen.append(types(graph))
        return [{"latents": case["latents"].numpy()} for case in latent_cases(4)]

    folder = tmp_path / "small_unet"
    write_part(part(role="unet"), folder, precision="int8", engine="openvino", calibration=calibrate)
    assert seen == [{"FLOAT"}]


def test_what_lay_there_is_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "small_vae"
    (folder / "1").mkdir(parents=True)
    (folder / "1" / "graph.xml").write_text("old")
    write_part(part(), folder, precision="fp32", engine="openvino")
    assert not (folder / "1" / "graph.xml").exists()


@pytest.mark.parametrize("engine", ["openvino", "onnx", "tensorrt"])
def test_weights_too_large_for_one_file_are_next_to_it(
    tmp_path: Path, engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_weights, "SINGLE_FILE", 1000)
    folder = tmp_path / "large_unet"
    written = write_part(part(role="unet"), folder, precision="fp16", engine=engine)
    names = sorted(path.name for path in (folder / "1").iterdir())
    assert (
        names
        == {
            "openvino": ["graph.bin", "graph.xml", "model.py"],
            "onnx": ["model.onnx", "model.onnx.data"],
            "tensorrt": ["graph.onnx", "graph.onnx.data"],
        }[engine]
    )
    assert written.sha256 in (folder / "config.pbtxt").read_text("utf-8")
    latents, path = latent_cases(4)[1]["latents"], folder / "1" / names[1 if engine == "openvino" else 0]
    if engine == "openvino":
        got = Network(path, "f32").run({"latents": latents.numpy()})["image"]
    else:
        (got,) = open_with_onnxruntime(path)({"latents": latents})
    assert np.abs(got - small()(latents).detach().numpy()).max() < 0.01


class NotANumber(Small):
    def __init__(self) -> None:
        super().__init__()
        with torch.no_grad():
            self.middle.weight[0, 0, 0, 0] = float("nan")


class Mixed(Small):
    """Rows that see each other."""

    def forward(self, latents: Any) -> Any:
        return super().forward(latents + latents.mean(0, keepdim=True))


class Overflowing(Small):
    """Values beyond float16's."""

    def forward(self, latents: Any) -> Any:
        return super().forward(latents) * 1e5 / 1e5


class Unknown(Small):
    """What no graph holds."""

    def forward(self, latents: Any) -> Any:
        return super().forward(torch.special.i0(latents))


@pytest.mark.parametrize(
    ("network", "precision", "said"),
    [
        (NotANumber, "fp32", "unet: weights middle.weight are not finite"),
        (Mixed, "fp32", "unet: a row differs by .* from the same row alone"),
        (Overflowing, "fp16", "unet: it gives values that are not finite"),
        (Unknown, "fp32", "unet: torch cannot trace Named"),
    ],
)
def test_what_is_wrong_leaves_nothing_behind(tmp_path: Path, network: Any, precision: Any, said: str) -> None:
    with pytest.raises(ExportError, match=said):
        write_part(part(network, "unet"), tmp_path / "bad", precision=precision, engine="tensorrt")
    assert not list(tmp_path.iterdir())


def test_a_graph_that_misses_torch_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "halved", lambda module: module)  # torch's answers are then of other weights
    monkeypatch.setattr(recipes, "STORED_HALF", replace(recipes.STORED_HALF, bound=1e-6))
    with pytest.raises(ExportError, match=r"vae_decoder: the graph differs from torch by .*, the bound is 1e-06"):
        write_part(part(), tmp_path / "bad", precision="fp16", engine="openvino")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("engine", "precision"), [("onnx", "fp8"), ("openvino", "fp8"), ("onnx", "bf16")])
def test_what_an_engine_does_not_know(tmp_path: Path, engine: Any, precision: Any) -> None:
    with pytest.raises(ExportError, match=f"engine {engine} has no {precision}"):
        write_part(part(role="unet"), tmp_path / "small", precision=precision, engine=engine)
