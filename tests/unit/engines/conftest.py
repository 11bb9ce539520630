"""The engine outside Triton's environment: fakes of the two modules that only live there."""

import importlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest

DOUBLED = "out"
NEGATED = "negated"
TWO_INPUTS = b"two inputs"  # the bytes of a graph with a second input, y, and a second output


class FakeRequest:
    """A request's tensors by name, as Triton's Python backend holds them, and the outputs asked for."""

    asked: tuple[str, ...] = (DOUBLED, NEGATED)

    def __init__(self, **arrays: np.ndarray) -> None:
        self.arrays = arrays

    def requested_output_names(self) -> list[str]:
        return list(self.asked)


class FakeTensor:
    """A named array."""

    def __init__(self, name: str, array: np.ndarray) -> None:
        self.name = name
        self.array = array

    def as_numpy(self) -> np.ndarray:
        return self.array


@dataclass(frozen=True)
class FakeError:
    """An error, with Triton's code for whose fault it is."""

    INTERNAL: ClassVar[int] = 1
    INVALID_ARG: ClassVar[int] = 3
    message: str
    code: int = INTERNAL


class FakeResponse:
    """Outputs by name, or an error."""

    def __init__(self, tensors: list[FakeTensor], error: FakeError | None = None) -> None:
        self.outputs = {tensor.name: tensor.array.copy() for tensor in tensors}
        self.error = error


class FakeMetricFamily:
    """Keeps the labels of its metrics."""

    GAUGE = "gauge"
    labels: list[dict[str, str]] = []  # noqa: RUF012 - what all of them published

    def __init__(self, **_: str) -> None:
        self.labels.clear()

    def Metric(self, labels: dict[str, str]) -> SimpleNamespace:  # noqa: N802 - the backend's name
        self.labels.append(labels)
        return SimpleNamespace(set=lambda _: None)


def make_backend() -> ModuleType:
    """Return what the engine uses of triton_python_backend_utils."""
    module = ModuleType("triton_python_backend_utils")

    def get_input(request: FakeRequest, name: str) -> FakeTensor | None:
        return FakeTensor(name, request.arrays[name]) if name in request.arrays else None

    module.get_input_tensor_by_name = get_input  # type: ignore[attr-defined]
    module.Tensor = FakeTensor  # type: ignore[attr-defined]
    module.InferenceResponse = FakeResponse  # type: ignore[attr-defined]
    module.TritonError = FakeError  # type: ignore[attr-defined]
    module.MetricFamily = FakeMetricFamily  # type: ignore[attr-defined]
    module.logged = []  # type: ignore[attr-defined]
    module.Logger = SimpleNamespace(log_error=module.logged.append, log_info=module.logged.append)  # type: ignore[attr-defined]
    types = {"TYPE_FP32": np.float32, "TYPE_INT32": np.int32}
    module.triton_string_to_numpy = types.__getitem__  # type: ignore[attr-defined]
    return module


class FakePort:
    """An input or output of a graph."""

    def __init__(self, name: str, rank: int) -> None:
        self.any_name = name
        self.element_type = SimpleNamespace(to_dtype=lambda: np.dtype(np.float32))
        self.partial_shape = SimpleNamespace(rank=SimpleNamespace(get_length=lambda: rank))


class FakeCore:
    """A graph that doubles its input x, [rows, any]; each run is kept in `runs`, and a row of 13 makes it fail.

    With TWO_INPUTS it also adds the sum of its input y, [rows, any, any], and answers -x as well.
    """

    runs: list[int] = []  # noqa: RUF012
    fed: list[dict[str, np.ndarray]] = []  # noqa: RUF012
    hints: dict[str, object] = {}  # noqa: RUF012

    def read_model(self, path: str) -> SimpleNamespace:
        content = Path(path).read_bytes()
        if not content:
            raise RuntimeError("internals of the reader")
        if content == TWO_INPUTS:
            outputs = [FakePort(DOUBLED, 2), FakePort(NEGATED, 2)]
            return SimpleNamespace(inputs=[FakePort("x", 2), FakePort("y", 3)], outputs=outputs, get_ordered_ops=list)
        return SimpleNamespace(inputs=[FakePort("x", 2)], outputs=[FakePort(DOUBLED, 2)], get_ordered_ops=list)

    def compile_model(self, _model: object, _device: str, hints: dict[str, object]) -> SimpleNamespace:
        type(self).hints = hints
        self.runs.clear()
        self.fed.clear()
        held: dict[str, np.ndarray] = {}

        def infer(tensors: dict[str, SimpleNamespace]) -> None:
            x = tensors["x"].data
            self.runs.append(len(x))
            self.fed.append({name: tensor.data for name, tensor in tensors.items()})
            if (x == 13).any():
                raise RuntimeError("internals of the engine")
            held[DOUBLED] = x * 2 + (tensors["y"].data.sum((1, 2))[:, None] if "y" in tensors else 0)
            held[NEGATED] = -x

        request = SimpleNamespace(infer=infer, get_tensor=lambda name: SimpleNamespace(data=held[name]))
        return SimpleNamespace(create_infer_request=lambda: request)


def make_openvino() -> ModuleType:
    """Return what the engine uses of OpenVINO."""
    module = ModuleType("openvino")
    module.__version__ = "2026.4.1-22982-abc"  # type: ignore[attr-defined]
    module.Core = FakeCore  # type: ignore[attr-defined]
    module.Tensor = lambda array, shared_memory: SimpleNamespace(data=array, shared=shared_memory)  # type: ignore[attr-defined]
    module.ConstOutput = FakePort  # type: ignore[attr-defined]
    module.opset13 = ModuleType("openvino.opset13")  # type: ignore[attr-defined]
    return module


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """The two fake modules, in place; modules of `engines` are imported again with them, and forgotten again."""
    backend, openvino = make_backend(), make_openvino()
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", backend)
    monkeypatch.setitem(sys.modules, "openvino", openvino)
    yield SimpleNamespace(backend=backend, core=FakeCore)
    for name in (
        "engines.openvino_engine",
        "engines.absent",
        "engines.additions",
        "engines.network",
        "engines.silu",
        "engines.waves",
    ):
        sys.modules.pop(name, None)


@pytest.fixture
def engine(fakes: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module engines.openvino_engine, believing that numpy is old enough."""
    monkeypatch.setattr(np, "__version__", "1.26.4")
    assert fakes
    return importlib.import_module("engines.openvino_engine")


@pytest.fixture
def network(fakes: SimpleNamespace) -> ModuleType:
    """The module engines.network."""
    assert fakes
    return importlib.import_module("engines.network")
