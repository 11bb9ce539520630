"""What a folder of Triton models must contain for the embedded Triton, checked before it starts.

Triton chooses a model's backend by the name of the file in its version folder, and the wheel's server carries the
Python backend only: another name fails in words that do not help.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from local.errors import LocalError, ModelsError

MODEL_FILE = "model.py"
_OTHER_ENGINES = {
    "model.onnx": "ONNX Runtime, which the embedded Triton does not carry: name the graph graph.onnx, next to model.py",
    "model.plan": "TensorRT, which the embedded Triton does not carry: put graph.onnx and model.py in its place",
}


def list_models(repositories: tuple[Path, ...]) -> dict[str, Path]:
    """Return the models' folders by name.

    Raises:
        LocalError: a repository is no folder, there is no model at all, or two have the same name.
    """
    models: dict[str, Path] = {}
    for repository in repositories:
        if not repository.is_dir():
            raise LocalError(f"no model repository at {repository}")
        for folder in sorted(repository.iterdir()):
            if not folder.is_dir() or folder.name.startswith((".", "__")):
                continue
            if folder.name in models:
                raise LocalError(f"two models are called {folder.name}: {models[folder.name]} and {folder}")
            models[folder.name] = folder
    if not models:
        raise LocalError(f"no model in {', '.join(map(str, repositories))}")
    return models


def check_models(models: dict[str, Path]) -> None:
    """Check every model's folder; all faults at once, so that one does not hide the rest.

    Raises:
        ModelsError: for the models that the embedded Triton could not load.
    """
    reasons = {name: reason for name, folder in models.items() for reason in _list_faults(folder)}
    if reasons:
        raise ModelsError(reasons)


def _list_faults(folder: Path) -> Iterator[str]:
    versions = [each for each in folder.iterdir() if each.is_dir() and each.name.isdecimal()]
    if not (folder / "config.pbtxt").is_file():
        yield f"{folder} has no config.pbtxt"
    if not versions:
        yield f"{folder} has no version folder, 1"
    for version in versions:
        for name, why in _OTHER_ENGINES.items():
            if (version / name).exists():
                yield f"{version / name} makes Triton choose {why}"
                return
        if not (version / MODEL_FILE).is_file():
            yield f"{version} has no {MODEL_FILE}"
