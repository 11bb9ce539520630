"""Model folders that the embedded Triton could not load, each in a clear message."""

from pathlib import Path

import pytest

from local.errors import LocalError, ModelsError
from local.repository import check_models, list_models


def make_model(repository: Path, name: str, *files: str) -> Path:
    folder = repository / name
    for file in files or ("config.pbtxt", "1/model.py", "1/graph.onnx"):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).touch()
    return folder


def test_whole_models_pass(tmp_path: Path) -> None:
    folders = {name: make_model(tmp_path, name) for name in ("a", "b")}
    (tmp_path / ".git").mkdir()
    (tmp_path / "README.md").touch()
    assert list_models((tmp_path,)) == folders
    check_models(folders)


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        (
            ("config.pbtxt", "1/model.onnx"),
            r"1/model\.onnx makes Triton choose ONNX Runtime.*name the graph graph\.onnx",
        ),
        (("config.pbtxt", "1/model.py", "1/model.onnx"), "choose ONNX Runtime"),
        (("config.pbtxt", "1/model.plan"), r"1/model\.plan makes Triton choose TensorRT"),
        (("config.pbtxt", "1/graph.onnx"), r"1 has no model\.py"),
        (("config.pbtxt",), "no version folder"),
        (("1/model.py", "1/graph.onnx"), r"no config\.pbtxt"),
    ],
)
def test_each_fault_is_named_next_to_a_whole_model(tmp_path: Path, files: tuple[str, ...], reason: str) -> None:
    make_model(tmp_path, "whole")
    make_model(tmp_path, "broken", *files)
    with pytest.raises(ModelsError, match=reason) as caught:
        check_models(list_models((tmp_path,)))
    assert list(caught.value.reasons) == ["broken"]


def test_all_faults_are_reported_at_once(tmp_path: Path) -> None:
    for name in ("one", "two"):
        make_model(tmp_path, name, "config.pbtxt")
    with pytest.raises(ModelsError) as caught:
        check_models(list_models((tmp_path,)))
    assert sorted(caught.value.reasons) == ["one", "two"]


def test_a_missing_or_empty_repository_is_named(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match=f"no model repository at {tmp_path / 'gone'}"):
        list_models((tmp_path / "gone",))
    with pytest.raises(LocalError, match=f"no model in {tmp_path}"):
        list_models((tmp_path,))


def test_two_models_of_one_name_are_named(tmp_path: Path) -> None:
    for repository in ("a", "b"):
        make_model(tmp_path / repository, "same")
    with pytest.raises(LocalError, match="two models are called same"):
        list_models((tmp_path / "a", tmp_path / "b"))
