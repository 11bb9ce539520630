"""Every committed model folder keeps what the house asks of one. Read from the files: no server is needed."""

import hashlib
import tomllib
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from local.repository import check_models, list_models
from local.settings import Settings
from orchestrator.models.families import Families
from orchestrator.models.specs import FAMILY_ROLES, TOOL_ROLES, TensorSpec

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests/golden"
REPOSITORIES = (ROOT / "model_repository", GOLDEN / "model_repository", GOLDEN / "adapters/model_repository")
REGISTRIES = (Settings().families, GOLDEN / "families.toml", GOLDEN / "adapters/families.toml")
MODELS = [folder for repository in REPOSITORIES for folder in sorted(repository.glob("[!.]*")) if folder.is_dir()]

SPECS = {**FAMILY_ROLES, **TOOL_ROLES}
INTEGERS = (model_config_pb2.TYPE_INT32, model_config_pb2.TYPE_INT64)

each_model = pytest.mark.parametrize("folder", MODELS, ids=lambda folder: folder.name)


def read_config(folder: Path) -> Any:
    """Return the model's configuration; a misspelt field is an error."""
    return text_format.Parse((folder / "config.pbtxt").read_text(), model_config_pb2.ModelConfig())


def parameters(config: Any) -> dict[str, str]:
    return {key: value.string_value for key, value in config.parameters.items()}


@pytest.mark.parametrize("repository", REPOSITORIES, ids=["shipped", "golden", "adapters"])
def test_the_embedded_triton_could_load_all_of_it(repository: Path) -> None:
    check_models(list_models((repository,)))


def graph_files(folder: Path) -> list[Path]:
    """Return the files of a model's graph: ONNX, or OpenVINO's own format, the weights last."""
    ir = [folder / "1/graph.xml", folder / "1/graph.bin"]
    return ir if ir[0].exists() else [folder / "1/graph.onnx"]


@each_model
def test_no_engine_is_named(folder: Path) -> None:
    config = read_config(folder)
    assert not config.backend
    assert not config.platform
    assert not config.default_model_filename
    assert not config.instance_group, "how many, and where, is the deployment's"
    assert config.name in ("", folder.name)


@each_model
def test_rows_of_different_requests_can_share_a_batch(folder: Path) -> None:
    config = read_config(folder)
    assert config.max_batch_size == 8
    assert config.HasField("dynamic_batching")
    assert not config.sequence_batching.ListFields()
    # Of what is optional, a placeholder may stand for the whole (engines/absent.py); all else has one shape in a batch.
    free = {tensor.name for tensor in config.input if tensor.optional and -1 in tensor.dims}
    assert {tensor.name for tensor in config.input if tensor.allow_ragged_batch} == free


@each_model
def test_triton_keeps_no_deadlines(folder: Path) -> None:
    """Queue timeouts degrade throughput (triton-inference-server/server#8870) or fire late (#7512)."""
    batching = read_config(folder).dynamic_batching
    assert not batching.HasField("default_queue_policy")
    assert not batching.priority_queue_policy


@each_model
def test_its_tensors_are_the_contracts(folder: Path) -> None:
    """In every role that a registry names it for; where none does, that of its name's ending."""
    config = read_config(folder)
    inputs, outputs = (
        {TensorSpec(each.name, len(each.dims), each.data_type in INTEGERS) for each in tensors}
        for tensors in (config.input, config.output)
    )
    optional = {tensor.name for tensor in config.input if tensor.optional}
    specs = [SPECS[role] for role in roles(folder.name)]
    assert specs
    for spec in specs:
        assert inputs >= set(spec.inputs)
        assert {tensor.name for tensor in inputs - set(spec.inputs)} <= optional
        assert outputs == set(spec.outputs)


def roles(model: str) -> set[str]:
    """In which roles the registries name a model; else the longest role that its name ends with."""
    tables = [tomllib.loads(registry.read_text()) for registry in REGISTRIES]
    named = [each for table in tables for each in (*table["networks"].values(), table.get("tools", {}))]
    found = {role for each in named for role, name in each.items() if role in SPECS and name == model}
    return found or set(sorted((role for role in SPECS if model.endswith(role)), key=len)[-1:])


@each_model
def test_it_is_warmed_up_with_its_own_inputs(folder: Path) -> None:
    config = read_config(folder)
    assert config.model_warmup
    for warmup in config.model_warmup:
        assert set(warmup.inputs) == {tensor.name for tensor in config.input}


@each_model
def test_the_configuration_says_which_graph_it_is(folder: Path) -> None:
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in graph_files(folder))).hexdigest()
    assert parameters(read_config(folder))["graph_sha256"] == digest


@each_model
def test_the_precision_is_one_that_the_engine_knows(folder: Path) -> None:
    assert parameters(read_config(folder))["precision"] in {"auto", "f32", "bf16"}


@each_model
def test_the_model_is_the_shared_one_and_no_more(folder: Path) -> None:
    lines = (folder / "1/model.py").read_text().splitlines()
    statements = [line for line in lines[1:] if line and not line.startswith("__all__")]
    assert statements == ["from engines.openvino_engine import TritonPythonModel"]
    names = {path.name for path in (folder / "1").iterdir() if path.name != "__pycache__"}
    assert names == {"model.py", *(path.name for path in graph_files(folder))}


@pytest.mark.parametrize("registry", REGISTRIES, ids=["shipped", "golden", "adapters"])
def test_families_name_models_that_are_there(registry: Path) -> None:
    assert list(Families.load(registry))
    table = tomllib.loads(registry.read_text())
    named = (*table["networks"].values(), table.get("tools", {}))
    wanted = {name for each in named for role, name in each.items() if role in SPECS}
    assert wanted <= {folder.name for folder in MODELS}
