"""The shared Python model: what it reads, refuses, merges and reports."""

import hashlib
import json
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.unit.engines.conftest import DOUBLED, NEGATED, TWO_INPUTS, FakeRequest

GRAPH = b"graph"


def make_config(**changes: Any) -> dict[str, Any]:
    return {
        "max_batch_size": 8,
        "input": [{"name": "x", "data_type": "TYPE_FP32", "dims": ["-1"]}],
        "output": [{"name": DOUBLED, "data_type": "TYPE_FP32", "dims": ["-1"]}],
    } | changes


def load(engine: ModuleType, folder: Path, graph: bytes = GRAPH, **changes: Any) -> Any:
    """Load the model of a folder that holds the graph, with these changes of its configuration."""
    (folder / "1").mkdir(exist_ok=True)
    (folder / "1/graph.onnx").write_bytes(graph)
    model = engine.TritonPythonModel()
    model.initialize(
        {
            "model_name": "double",
            "model_version": "1",
            "model_repository": str(folder),
            "model_config": json.dumps(make_config(**changes)),
        }
    )
    return model


def rows(*values: float) -> FakeRequest:
    return FakeRequest(x=np.array([[value, value] for value in values], np.float32))


def test_numpy_2_is_refused_with_what_to_do(fakes: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    assert fakes
    monkeypatch.setattr(np, "__version__", "2.4.6")
    with pytest.raises(ImportError, match=r"numpy below 2, and found 2\.4\.6: start Triton in its own environment"):
        import engines.openvino_engine  # noqa: F401, PLC0415


def test_all_requests_share_one_run(engine: ModuleType, fakes: SimpleNamespace, tmp_path: Path) -> None:
    responses = load(engine, tmp_path).execute([rows(1), rows(2, 3), rows(4)])
    assert fakes.core.runs == [4]
    assert [response.outputs[DOUBLED][:, 0].tolist() for response in responses] == [[2], [4, 6], [8]]


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (FakeRequest(), "input x is missing"),
        (FakeRequest(x=np.ones((1, 2), np.float64)), "input x: float32 of 2 axes wanted, float64 of 2 given"),
        (FakeRequest(x=np.ones((1, 2, 2), np.float32)), "input x: float32 of 2 axes wanted, float32 of 3 given"),
        (FakeRequest(x=np.ones((0, 2), np.float32)), "same number of rows, at least 1"),
    ],
)
def test_a_bad_request_fails_alone(engine: ModuleType, tmp_path: Path, request_: FakeRequest, message: str) -> None:
    good, bad, other = load(engine, tmp_path).execute([rows(1), request_, rows(2)])
    assert message in bad.error.message
    assert bad.error.code == bad.error.INVALID_ARG, "the fault of this request alone"
    assert good.outputs[DOUBLED][0, 0] == 2
    assert other.outputs[DOUBLED][0, 0] == 4


def test_a_failed_run_fails_its_batch_without_internals_in_the_error(
    engine: ModuleType, fakes: SimpleNamespace, tmp_path: Path
) -> None:
    model = load(engine, tmp_path)
    responses = model.execute([rows(1), rows(13)])
    (error,) = {response.error for response in responses}
    assert error.message == "the engine failed to run this request; see the server's log"
    assert error.code == error.INTERNAL
    assert "internals of the engine" in fakes.backend.logged[-1]
    assert model.execute([rows(1)])[0].outputs[DOUBLED][0, 0] == 2  # it lives on


def test_no_good_request_means_no_run(engine: ModuleType, fakes: SimpleNamespace, tmp_path: Path) -> None:
    assert load(engine, tmp_path).execute([FakeRequest()])[0].error
    assert fakes.core.runs == []


def test_what_runs_is_published(engine: ModuleType, fakes: SimpleNamespace, tmp_path: Path) -> None:
    load(engine, tmp_path, parameters={"precision": {"string_value": "bf16"}})
    assert fakes.backend.MetricFamily.labels == [
        {
            "model": "double",
            "engine": "openvino 2026.4.1",
            "precision": "bf16",
            "graph_sha256": hashlib.sha256(GRAPH).hexdigest(),
        }
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input": [{"name": "y", "data_type": "TYPE_FP32", "dims": ["-1"]}]}, "names the inputs"),
        ({"input": [{"name": "x", "data_type": "TYPE_INT32", "dims": ["-1"]}]}, "input x: config.pbtxt says"),
        ({"output": [{"name": DOUBLED, "data_type": "TYPE_FP32", "dims": ["3", "-1"]}]}, f"output {DOUBLED}: "),
        ({"max_batch_size": 0}, "max_batch_size"),
        ({"parameters": {"precision": {"string_value": "int8"}}}, "precision is one of"),
        ({"parameters": {"graph_sha256": {"string_value": "0" * 64}}}, "but config.pbtxt says 000"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(
    engine: ModuleType, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        load(engine, tmp_path, **changes)


def test_the_right_digest_is_accepted(engine: ModuleType, tmp_path: Path) -> None:
    load(engine, tmp_path, parameters={"graph_sha256": {"string_value": hashlib.sha256(GRAPH).hexdigest()}})


def test_threads_come_from_the_environment(
    engine: ModuleType, fakes: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGEGEN_ENGINE_THREADS", "5")
    load(engine, tmp_path)
    assert fakes.core.hints["INFERENCE_NUM_THREADS"] == 5
    monkeypatch.setenv("IMAGEGEN_ENGINE_THREADS", "many")
    with pytest.raises(ValueError, match="IMAGEGEN_ENGINE_THREADS is a whole number from 0 up, not 'many'"):
        load(engine, tmp_path)


def two_inputs(**parameters: str) -> dict[str, Any]:
    """Changes of the configuration for a graph of two inputs, the second optional and three times as wide as x."""
    texts = {"absent_y": "2, 3*x[1]"} | parameters
    return {
        "graph": TWO_INPUTS,
        "input": [
            {"name": "x", "data_type": "TYPE_FP32", "dims": ["-1"]},
            {"name": "y", "data_type": "TYPE_FP32", "dims": ["2", "-1"], "optional": True},
        ],
        "output": [{"name": name, "data_type": "TYPE_FP32", "dims": ["-1"]} for name in (DOUBLED, NEGATED)],
        "parameters": {name: {"string_value": text} for name, text in texts.items()},
    }


def with_y(value: float, y: float, width: int = 6) -> FakeRequest:
    return FakeRequest(x=np.full((1, 2), value, np.float32), y=np.full((1, 2, width), y, np.float32))


def test_requests_with_and_without_an_optional_input_share_one_run(
    engine: ModuleType, fakes: SimpleNamespace, tmp_path: Path
) -> None:
    responses = load(engine, tmp_path, **two_inputs()).execute([rows(1), with_y(2, 10), rows(3, 4)])
    assert fakes.core.runs == [4]
    assert fakes.core.fed[0]["y"].shape == (4, 2, 6)
    assert [response.outputs[DOUBLED][:, 0].tolist() for response in responses] == [[2], [4 + 12 * 10], [6, 8]]


def test_zeros_are_allocated_once(engine: ModuleType, fakes: SimpleNamespace, tmp_path: Path) -> None:
    model = load(engine, tmp_path, **two_inputs())
    model.execute([rows(1), rows(2), rows(3)])
    model.execute([rows(4)])
    first, second = (fed["y"] for fed in fakes.core.fed)
    assert (first.shape, second.shape) == ((3, 2, 6), (1, 2, 6))
    assert np.shares_memory(first, second)
    assert second.flags.c_contiguous
    assert not first.any()


def test_an_optional_input_of_another_shape_fails_alone(engine: ModuleType, tmp_path: Path) -> None:
    good, bad = load(engine, tmp_path, **two_inputs()).execute([with_y(1, 0), with_y(1, 0, width=5)])
    assert good.error is None
    assert bad.error.message == "input y: shape (1, 2, 6) wanted, (1, 2, 5) given"


def test_a_placeholder_counts_as_left_out(engine: ModuleType, fakes: SimpleNamespace, tmp_path: Path) -> None:
    responses = load(engine, tmp_path, **two_inputs()).execute([with_y(1, 5, width=1), with_y(1, 10)])
    assert [response.outputs[DOUBLED][:, 0].tolist() for response in responses] == [[2], [2 + 12 * 10]]
    assert fakes.core.runs == [2]


def test_only_the_outputs_asked_for_are_sent(engine: ModuleType, tmp_path: Path) -> None:
    both, one = rows(1), rows(2)
    one.asked = (NEGATED,)
    answers = load(engine, tmp_path, **two_inputs()).execute([both, one])
    assert [set(answer.outputs) for answer in answers] == [{DOUBLED, NEGATED}, {NEGATED}]
    assert answers[1].outputs[NEGATED].tolist() == [[-2, -2]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2", "does not fit the dims"),
        ("3, 3*x[1]", "does not fit the dims"),
        ("x[1], 3*x[1]", "does not fit the dims"),
        ("2, x[0]", "no axis of it from 1 up"),
        ("2, x[2]", "no axis of it from 1 up"),
        ("2, y[1]", "names no required input"),
        ("2, z[1]", "names no required input"),
        ("2, 0*x[1]", "is neither a number nor FACTOR"),
        ("2, x[1]*3", "is neither a number nor FACTOR"),
        ("2, -1", "is neither a number nor FACTOR"),
        ("2, ", "is neither a number nor FACTOR"),
        ("", "is neither a number nor FACTOR"),
    ],
)
def test_a_shape_that_is_not_understood_is_refused(engine: ModuleType, tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"parameter absent_y: .*{message}"):
        load(engine, tmp_path, **two_inputs(absent_y=text))


def test_free_dims_need_the_parameter_and_fixed_ones_do_not(
    engine: ModuleType, fakes: SimpleNamespace, tmp_path: Path
) -> None:
    changes = two_inputs()
    del changes["parameters"]["absent_y"]
    with pytest.raises(ValueError, match="optional input y has free dims"):
        load(engine, tmp_path, **changes)
    changes["input"][1]["dims"] = ["2", "5"]
    load(engine, tmp_path, **changes).execute([rows(1)])
    assert fakes.core.fed[0]["y"].shape == (1, 2, 5)


def test_the_parameter_of_no_optional_input_is_refused(engine: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"parameter absent_x: config\.pbtxt has no optional input x"):
        load(engine, tmp_path, **two_inputs(absent_x="3"))


def test_not_every_input_can_be_optional(engine: ModuleType, tmp_path: Path) -> None:
    changes = two_inputs()
    changes["input"][0]["optional"] = True
    with pytest.raises(ValueError, match="marks every input optional"):
        load(engine, tmp_path, **changes)
