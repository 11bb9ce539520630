"""Waves of timesteps in a network that computes in bfloat16, by OpenVINO itself."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the tools' environment: make test-tools")

import openvino as ov  # only with torch

from engines.network import Network
from engines.waves import split_off

FREQUENCIES = np.exp(-np.log(10_000) * np.arange(16) / 16).astype(np.float32)
MIXED = np.random.default_rng(0).standard_normal((32, 8)).astype(np.float32)


def embedding() -> ov.Model:
    """Timesteps [?, 1] and a shift [?, 8] to a mix of their sines and cosines, and the shift."""
    ops = ov.opset13
    time = ops.parameter(ov.PartialShape([-1, 1]), ov.Type.f32, name="timestep")
    shift = ops.parameter(ov.PartialShape([-1, 8]), ov.Type.f32, name="shift")
    for port in (time, shift):
        port.output(0).set_names({port.get_friendly_name()})
    angles = ops.multiply(time, ops.constant(FREQUENCIES[None]))
    waves = ops.concat([ops.sin(angles), ops.cos(angles)], 1)
    mixed = ops.add(ops.matmul(waves, ops.constant(MIXED), transpose_a=False, transpose_b=False), shift)
    mixed.output(0).set_names({"out"})
    return ov.Model([mixed], [time, shift], "embedding")


def expected(timestep: np.ndarray, shift: np.ndarray) -> np.ndarray:
    angles = timestep * FREQUENCIES
    return np.asarray(np.concatenate([np.sin(angles), np.cos(angles)], 1) @ MIXED + shift)


def test_bfloat16_leaves_the_waves_of_large_timesteps_alone(tmp_path: Path) -> None:
    """999 and 997 are 1000 in bfloat16, and half a radian from it."""
    ov.save_model(embedding(), tmp_path / "graph.xml", compress_to_fp16=False)
    inputs = {
        "timestep": np.array([[999.0], [997.0], [561.3]], np.float32),
        "shift": np.random.default_rng(1).standard_normal((3, 8)).astype(np.float32),
    }
    network = Network(tmp_path / "graph.xml", "bf16")
    assert [*network.inputs] == ["timestep", "shift"]
    answers = [network.run(inputs)["out"].copy() for _ in range(2)]
    alone = network.run({name: array[2:] for name, array in inputs.items()})["out"]
    assert np.abs(answers[0] - expected(**inputs)).max() < 0.1
    assert np.array_equal(answers[0], answers[1])
    assert np.array_equal(answers[0][2:], alone)


def test_only_waves_are_taken_out() -> None:
    model = embedding()
    waves = split_off(model)
    assert waves is not None
    assert [port.any_name for port in waves.inputs] == ["timestep"]
    assert len(model.inputs) == 3
    assert not {"Sin", "Cos"} & {node.get_type_name() for node in model.get_ordered_ops()}
    assert split_off(model) is None
