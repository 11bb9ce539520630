"""Optional inputs and a graph in OpenVINO's own format, through the real Triton."""

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc.aio as client

from local import triton
from local.environments import ensure
from orchestrator.arrays import Floats

MODEL = "sum"
# sum = sample + the control picture's means over 8 x 8 pixels, over its three channels; mean = mean of sample.
RAGGED = "ragged"  # the same, its control_image ragged
GRAPH = """
import sys
import openvino as ov
from openvino import opset8 as op

sample = op.parameter([-1, 4, -1, -1], name="sample")
control = op.parameter([-1, 3, -1, -1], name="control_image")
means = op.reduce_mean(op.avg_pool(control, [8, 8], [0, 0], [0, 0], [8, 8], True), [1], keep_dims=True)
total, mean = op.add(sample, means), op.reduce_mean(sample, [1, 2, 3])
mean = op.unsqueeze(mean, [1])
for node, name in ((sample, "sample"), (control, "control_image"), (total, "sum"), (mean, "mean")):
    node.output(0).set_names({name})
ov.save_model(ov.Model([total, mean], [sample, control]), sys.argv[1])
"""
CONFIG = """
name: "sum"
max_batch_size: 8
input [
  { name: "sample" data_type: TYPE_FP32 dims: [ 4, -1, -1 ] },
  { name: "control_image" data_type: TYPE_FP32 dims: [ 3, -1, -1 ] optional: true }
]
output [
  { name: "sum" data_type: TYPE_FP32 dims: [ 4, -1, -1 ] },
  { name: "mean" data_type: TYPE_FP32 dims: [ 1 ] }
]
dynamic_batching { }
parameters { key: "precision" value { string_value: "f32" } }
parameters { key: "absent_control_image" value { string_value: "3, 8*sample[2], 8*sample[3]" } }
model_warmup {
  name: "without"
  batch_size: 2
  inputs { key: "sample" value { data_type: TYPE_FP32 dims: [ 4, 2, 2 ] zero_data: true } }
}
"""
# Slow, so that requests wait and could be merged; and it notes which requests came together.
SLOW_MODEL = """
import pathlib
import time

import triton_python_backend_utils as pb_utils
from engines.openvino_engine import TritonPythonModel as Shared


class TritonPythonModel(Shared):
    def execute(self, requests):
        time.sleep(0.1)
        tensors = [pb_utils.get_input_tensor_by_name(each, "control_image") for each in requests]
        kinds = ["-" if each is None or each.as_numpy().shape[3] == 1 else "+" for each in tensors]
        with pathlib.Path(__file__).with_name("batches").open("a") as file:
            print("".join(kinds), file=file)
        return super().execute(requests)
"""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of the two models, whose graphs are graph.xml and graph.bin."""
    repository = tmp_path_factory.mktemp("models")
    version = repository / MODEL / "1"
    version.mkdir(parents=True)
    (version.parent / "config.pbtxt").write_text(CONFIG)
    (version / "model.py").write_text(SLOW_MODEL)
    subprocess.run([ensure("triton").python, "-c", GRAPH, version / "graph.xml"], check=True)  # noqa: S603 - ours
    other = shutil.copytree(repository / MODEL, repository / RAGGED) / "config.pbtxt"
    other.write_text(
        CONFIG.replace(MODEL, RAGGED, 1).replace("optional: true", "optional: true allow_ragged_batch: true")
    )
    return repository


@pytest.fixture(scope="module")
def server(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[triton.Server]:
    """A Triton that serves them."""
    with triton.running([models], tmp_path_factory.mktemp("state")) as server:
        yield server


@pytest.fixture
async def connection(server: triton.Server) -> AsyncIterator[client.InferenceServerClient]:
    """A client of it."""
    async with client.InferenceServerClient(server.grpc_url) as connection:
        yield connection


async def infer(
    connection: client.InferenceServerClient, *asked: str, model: str = MODEL, **tensors: Floats
) -> client.InferResult:
    inputs = [client.InferInput(name, list(array.shape), "FP32") for name, array in tensors.items()]
    for each, array in zip(inputs, tensors.values(), strict=True):
        each.set_data_from_numpy(array)
    return await connection.infer(model, inputs, outputs=[client.InferRequestedOutput(name) for name in asked] or None)


async def test_what_is_left_out_is_zeros(connection: client.InferenceServerClient) -> None:
    rng = np.random.default_rng(0)
    for side in (2, 3, 2):
        sample = rng.standard_normal((2, 4, side, side + 1), np.float32)
        control = np.ones((2, 3, 8 * side, 8 * side + 8), np.float32)
        without = (await infer(connection, sample=sample)).as_numpy("sum")
        given = (await infer(connection, sample=sample, control_image=control)).as_numpy("sum")
        assert np.array_equal(without, sample)
        assert np.array_equal(given, sample + 1)


async def test_only_the_outputs_asked_for_are_sent(connection: client.InferenceServerClient) -> None:
    sample = np.full((1, 4, 2, 2), 3, np.float32)
    answer = await infer(connection, "mean", sample=sample)
    assert [output.name for output in answer.get_response().outputs] == ["mean"]
    assert answer.as_numpy("mean").tolist() == [[3]]


async def test_a_control_image_of_another_size_is_refused(connection: client.InferenceServerClient) -> None:
    control = np.ones((1, 3, 8, 8), np.float32)
    with pytest.raises(client.InferenceServerException, match=r"input control_image: shape \(1, 3, 16, 16\) wanted"):
        await infer(connection, sample=np.ones((1, 4, 2, 2), np.float32), control_image=control)


async def run_mixed(
    connection: client.InferenceServerClient, models: Path, model: str, without: dict[str, Floats]
) -> list[str]:
    """Run 24 requests at once, every other six with `without` in place of a black control picture.

    Returns:
        The batches that the model saw, a sign for each request in it.
    """
    log = models / model / "1/batches"
    log.write_text("")
    black, samples = np.zeros((1, 3, 16, 16), np.float32), [np.full((1, 4, 2, 2), i, np.float32) for i in range(24)]
    kinds = [{"control_image": black} if i // 6 % 2 else without for i in range(24)]
    requests = zip(samples, kinds, strict=True)
    answers = await asyncio.gather(*(infer(connection, model=model, sample=each, **kind) for each, kind in requests))
    assert all(np.array_equal(a.as_numpy("sum"), b) for a, b in zip(answers, samples, strict=True))
    batches = log.read_text().split()
    assert sum(map(len, batches)) == len(samples)
    assert max(map(len, batches)) > 1, "or nothing was merged"
    return batches


async def test_triton_merges_requests_with_equal_inputs_only(
    connection: client.InferenceServerClient, models: Path
) -> None:
    """As the engine's docstring says: of one kind they share a batch, of two kinds they never do."""
    batches = await run_mixed(connection, models, MODEL, {})
    assert all(len(set(batch)) == 1 for batch in batches), batches


async def test_a_placeholder_lets_them_share_batches(connection: client.InferenceServerClient, models: Path) -> None:
    placeholder = np.zeros((1, 3, 1, 1), np.float32)
    batches = await run_mixed(connection, models, RAGGED, {"control_image": placeholder})
    assert any(len(set(batch)) == 2 for batch in batches), batches
