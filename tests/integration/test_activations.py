"""A wide layer with SiLU, as timestep embeddings have it, gives a row the same bits alone and in company.

Through the real Triton, in f32: with the activation fused into the layer OpenVINO sums one row in another order.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pytest
import tritonclient.grpc as client

from local import triton
from local.environments import ensure

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    Floats = npt.NDArray[np.float32]

WIDTH, ROWS = 1280, 8
# once: silu(x W + b). twice: the same read by two layers, as a denoiser's blocks do; equal parts are then joined.
GRAPH = """
import sys
import numpy as np
import openvino as ov
from openvino import opset13 as op

rng = np.random.default_rng(0)
weights = [(rng.standard_normal((1280, 1280)) / 36).astype(np.float32) for _ in range(3)]
x = op.parameter([-1, 1280], name="x")
layer = op.add(op.matmul(x, op.constant(weights[0]), False, True), op.constant(weights[1][:1]))
silu = lambda: op.multiply(layer, op.sigmoid(layer))
once = silu()
twice = op.add(
    op.matmul(silu(), op.constant(weights[1]), False, True), op.matmul(silu(), op.constant(weights[2]), False, True)
)
for node, name in ((x, "x"), (once, "once"), (twice, "twice")):
    node.output(0).set_names({name})
ov.save_model(ov.Model([once, twice], [x]), sys.argv[1], compress_to_fp16=False)
"""
CONFIG = """
name: "layers"
max_batch_size: 8
input [ { name: "x" data_type: TYPE_FP32 dims: [ 1280 ] } ]
output [
  { name: "once" data_type: TYPE_FP32 dims: [ 1280 ] },
  { name: "twice" data_type: TYPE_FP32 dims: [ 1280 ] }
]
dynamic_batching { }
parameters { key: "precision" value { string_value: "f32" } }
model_warmup {
  name: "two"
  batch_size: 2
  inputs { key: "x" value { data_type: TYPE_FP32 dims: [ 1280 ] zero_data: true } }
}
"""
MODEL = "from engines.openvino_engine import TritonPythonModel\n\n__all__ = ['TritonPythonModel']\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[triton.Server]:
    """A Triton that serves both layers."""
    repository = tmp_path_factory.mktemp("models")
    version: Path = repository / "layers/1"
    version.mkdir(parents=True)
    (version.parent / "config.pbtxt").write_text(CONFIG)
    (version / "model.py").write_text(MODEL)
    subprocess.run([ensure("triton").python, "-c", GRAPH, version / "graph.xml"], check=True)  # noqa: S603 - ours
    with triton.running([repository], tmp_path_factory.mktemp("state")) as server:
        yield server


@pytest.mark.parametrize("output", ["once", "twice"])
def test_a_row_is_the_same_alone_and_in_company(server: triton.Server, output: str) -> None:
    x: Floats = np.random.default_rng(1).standard_normal((ROWS, WIDTH), np.float32)

    with client.InferenceServerClient(server.grpc_url) as connection:

        def run(rows: Floats) -> Floats:
            tensor = client.InferInput("x", list(rows.shape), "FP32")
            tensor.set_data_from_numpy(np.ascontiguousarray(rows))
            return np.asarray(connection.infer("layers", [tensor]).as_numpy(output), np.float32)

        alone = np.concatenate([run(x[at : at + 1]) for at in range(ROWS)])
        for count in range(2, ROWS + 1):
            assert np.array_equal(run(x[:count]), alone[:count]), f"batch of {count}"
    if output == "once":  # W and b as GRAPH draws them
        rng = np.random.default_rng(0)
        weights = [(rng.standard_normal((WIDTH, WIDTH)) / 36).astype(np.float32) for _ in range(2)]
        layer = x.astype(np.float64) @ weights[0].T + weights[1][:1]
        np.testing.assert_allclose(alone, layer / (1 + np.exp(-layer)), atol=1e-4)
