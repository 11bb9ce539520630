"""Precision, digest, and how OpenVINO is asked."""

import hashlib
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest


@pytest.mark.parametrize(
    ("setting", "flags", "precision"),
    [
        ("auto", {"avx2", "avx512f"}, "f32"),
        ("auto", {"avx512f", "avx512_bf16"}, "bf16"),
        ("auto", {"amx_bf16"}, "bf16"),
        ("f32", {"amx_bf16"}, "f32"),
        ("bf16", set(), "bf16"),
    ],
)
def test_auto_is_bf16_where_the_cpu_multiplies_it(
    network: ModuleType, setting: str, flags: set[str], precision: str
) -> None:
    assert network.choose_precision(setting, frozenset(flags)) == precision


def test_an_unknown_precision_is_refused(network: ModuleType) -> None:
    with pytest.raises(network.NetworkError, match="auto, f32, bf16, not 'fp16'"):
        network.choose_precision("fp16", frozenset())


def test_cpu_flags_are_read(network: ModuleType, tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nflags\t\t: fpu avx512_bf16\n\nprocessor\t: 1\nflags\t\t: other\n")
    assert network.read_cpu_flags(cpuinfo) == {"fpu", "avx512_bf16"}
    cpuinfo.write_text("processor\t: 0\n")
    assert network.read_cpu_flags(cpuinfo) == frozenset()


def test_the_digest_is_that_of_the_whole_file(network: ModuleType, tmp_path: Path) -> None:
    data = bytes(range(256)) * 10_000  # more than one block
    (tmp_path / "graph").write_bytes(data)
    assert network.read_digest(tmp_path / "graph") == hashlib.sha256(data).hexdigest()


def test_openvino_is_given_precision_and_threads(network: ModuleType, fakes: SimpleNamespace, tmp_path: Path) -> None:
    graph = tmp_path / "graph.onnx"
    graph.write_bytes(b"graph")
    assert network.Network(graph, "bf16", threads=3).engine == "openvino 2026.4.1"
    assert fakes.core.hints["INFERENCE_PRECISION_HINT"] == "bf16"
    assert fakes.core.hints["INFERENCE_NUM_THREADS"] == 3
    network.Network(graph, "f32")
    assert "INFERENCE_NUM_THREADS" not in fakes.core.hints


def test_a_missing_graph_is_named(network: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(network.NetworkError, match=r"no graph at .*/graph\.onnx or .*/graph\.xml"):
        network.find_graph(tmp_path)


def test_either_kind_of_graph_is_found(network: ModuleType, tmp_path: Path) -> None:
    onnx, xml, weights = (tmp_path / name for name in ("graph.onnx", "graph.xml", "graph.bin"))
    xml.write_bytes(b"structure")
    with pytest.raises(network.NetworkError, match=r"no weights at .*/graph\.bin"):
        network.find_graph(tmp_path)
    weights.write_bytes(b"weights")
    assert network.find_graph(tmp_path) == xml
    onnx.write_bytes(b"graph")
    with pytest.raises(network.NetworkError, match=r"two graphs in .*: graph\.onnx and graph\.xml"):
        network.find_graph(tmp_path)
    xml.unlink()
    assert network.find_graph(tmp_path) == onnx


def test_the_digest_covers_the_weights_next_to_the_graph(network: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "graph.xml").write_bytes(b"structure")
    (tmp_path / "graph.bin").write_bytes(b"weights")
    assert network.read_digest(tmp_path / "graph.xml") == hashlib.sha256(b"structureweights").hexdigest()
    (tmp_path / "graph.onnx").write_bytes(b"graph")
    assert network.read_digest(tmp_path / "graph.onnx") == hashlib.sha256(b"graph").hexdigest()
    (tmp_path / "graph.onnx.data").write_bytes(b"weights")
    assert network.read_digest(tmp_path / "graph.onnx") == hashlib.sha256(b"graphweights").hexdigest()


def test_a_broken_graph_is_named(network: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "graph.onnx").touch()
    with pytest.raises(network.NetworkError, match=r"cannot open .*/graph\.onnx"):
        network.Network(tmp_path / "graph.onnx", "f32")
