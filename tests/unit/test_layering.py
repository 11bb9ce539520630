"""Who may import whom: the table of floors, held against the import statements of every file.

Read from the syntax tree, so imports inside functions and under TYPE_CHECKING count too: what is named is depended on.
"""

import ast
import sys
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("common", "orchestrator", "gateway", "local", "engines", "model_tools", "benchmarks", "tests")

# Floor, and the place on it: rooms of one floor import each other only downwards in this order (0, 1 before 0, 2), and
# not at all where the places are equal.
FLOORS = {
    "orchestrator.errors": (0, 1),
    "orchestrator.arrays": (0, 1),
    "orchestrator.config": (0, 2),
    "orchestrator.metrics": (0, 2),
    "orchestrator.cancellation": (0, 2),
    "orchestrator.memory": (0, 3),
    "orchestrator.params": (1, 1),
    "orchestrator.web": (1, 1),
    "orchestrator.imaging": (1, 2),
    "orchestrator.decoding": (1, 3),
    "orchestrator.scheduling": (1, 2),
    "orchestrator.models": (1, 3),
    "orchestrator.database": (1, 3),
    "orchestrator.provenance": (1, 4),
    "orchestrator.diffusion": (2, 1),
    "orchestrator.results": (2, 2),
    "orchestrator.accounts": (2, 3),
    "orchestrator.tasks": (3, 1),
    "orchestrator.generation": (4, 1),
    "orchestrator.streams": (4, 2),
    "orchestrator.jobs": (4, 3),
    "orchestrator.webhooks": (4, 4),
    "orchestrator.api": (5, 1),
    "orchestrator.server": (6, 1),
    "orchestrator.commands": (6, 1),
    "orchestrator.__main__": (6, 2),
}

# Package -> the modules or rooms of the orchestrator and the gateway that alone may import it.
ONLY = {
    "tritonclient": ("orchestrator.models.triton",),
    "tokenizers": ("orchestrator.diffusion.tokenizer", "orchestrator.diffusion.texts"),
    **dict.fromkeys(("cv2", "pi_heif", "simplejpeg"), ("orchestrator.imaging",)),
    **dict.fromkeys(("httpx2", "httpcore2"), ("orchestrator.web",)),
    "PIL": ("orchestrator.imaging",),
    "obstore": ("orchestrator.results",),
    **dict.fromkeys(("psycopg", "psycopg_pool"), ("orchestrator.database",)),
    "prometheus_client": ("orchestrator.metrics", "orchestrator.server", "gateway"),
    **dict.fromkeys(
        ("grpc", "google", "grpc_status", "grpc_health", "grpc_reflection", "imagegen"),
        ("orchestrator.api", "orchestrator.server", "gateway"),
    ),
}
TRAINING = {"torch", "diffusers", "transformers", "onnx", "onnxscript", "safetensors"}
MAY_TRAIN = ("model_tools", "benchmarks", "tests")
NAMED = (
    "orchestrator.api.status",
    "orchestrator.diffusion.noise",
    "orchestrator.models.families",
    "orchestrator.models.triton",
)
"""Modules that the synthetic breaches below import by `from package import module`."""

PIPELINE = "orchestrator.diffusion.pipeline"
OF_PIPELINE = (
    PIPELINE,
    *(
        f"orchestrator.diffusion.{part}"
        for part in (
            "contract_checks",
            "denoiser",
            "encoding",
            "guider",
            "inputs",
            "joint_prompts",
            "prompts",
            "stages",
            "vae",
        )
    ),
)
"""The pipeline and its parts: what of the diffusion room knows networks, families and metrics."""
OVER_TRITON = tuple(f"orchestrator.models.{part}" for part in ("triton", "networks", "tool_networks", "readiness"))
MAY_USE_DIFFUSION = ("orchestrator.arrays", "numpy", "orchestrator.diffusion")

Sources = Mapping[str, str]
"""Module name -> source text."""


def test_the_tree_keeps_to_the_floors() -> None:
    sources = tree()
    assert len(sources) > 60
    assert breaches(sources) == []


def test_no_two_folders_import_each_other() -> None:
    product = {name: source for name, source in tree().items() if not name.startswith("tests.")}
    assert circle_of_folders(product) == []


def test_a_circle_of_folders_is_found() -> None:
    sources = {
        "gateway.routes.v1": "from gateway.openai import errors",
        "gateway.openai.errors": "",
        "gateway.openai.routes": "from gateway.routes import calls",
        "gateway.routes.calls": "",
    }
    assert set(circle_of_folders(sources)) == {"gateway.routes", "gateway.openai"}
    sources = {
        "model_tools.training.starter": "",
        "model_tools.training.starter.bars": "from model_tools.training.networks import matting",
        "model_tools.training.networks.matting": "from model_tools.training.starter.paths import Workspace",
        "model_tools.training.starter.paths": "",
    }
    assert set(circle_of_folders(sources)) == {"model_tools.training.starter", "model_tools.training.networks"}


def test_every_room_has_a_floor() -> None:
    parts = {".".join(name.split(".")[:2]) for name in tree() if name.startswith("orchestrator.")}
    assert parts == set(FLOORS)


@pytest.mark.parametrize(
    ("module", "source", "named"),
    [
        ("orchestrator.errors", "from orchestrator import config", "orchestrator.config"),
        ("orchestrator.params", "import orchestrator.imaging.codec", "orchestrator.imaging.codec"),
        ("orchestrator.imaging.codec", "from orchestrator.models import families", "orchestrator.models.families"),
        ("orchestrator.models.families", "from ..diffusion import noise", "orchestrator.diffusion.noise"),
        ("orchestrator.streams.queue", "def f():\n    from orchestrator.api.status import message", "orchestrator.api"),
        ("orchestrator.tasks.face", "import tritonclient.grpc.aio as triton", "tritonclient"),
        (PIPELINE, "from orchestrator.models.triton import TritonServer", "orchestrator.models.triton"),
        (PIPELINE, "from orchestrator.models import triton", "orchestrator.models.triton"),
        ("orchestrator.diffusion.vae", "import orchestrator.models.networks", "orchestrator.models.networks"),
        ("orchestrator.diffusion.noise", "import scipy.stats", "scipy"),
        ("orchestrator.diffusion.noise", "from orchestrator.errors import ImagegenError", "orchestrator.errors"),
        ("orchestrator.generation.job", "from imagegen.v1 import jobs_pb2", "imagegen"),
        ("orchestrator.streams.queue", "import grpc", "grpc"),
        ("orchestrator.api.status", "import cv2", "cv2"),
        ("gateway.app", "from orchestrator.params import MAX_STEPS", "orchestrator.params"),
        ("gateway.app", "import torch", "torch"),
        ("common.logs", "from orchestrator import errors", "orchestrator.errors"),
        ("common.settings", "import gateway.config", "gateway.config"),
        ("local.stack", "if True:\n    from diffusers import X", "diffusers"),
        ("orchestrator.cache", "", "has no floor"),
    ],
)
def test_a_breach_is_found(module: str, source: str, named: str) -> None:
    """The checker itself: each breach is one line that names the module and what it may not import."""
    packages = dict.fromkeys(FLOORS, "") | dict.fromkeys(NAMED, "")
    found = breaches({**packages, module: source})
    assert found
    assert all(line.startswith(f"{module}: ") and named in line for line in found)


def test_a_circle_is_found() -> None:
    sources = {
        "orchestrator.jobs.store": "from orchestrator.jobs import records",
        "orchestrator.jobs.records": "import orchestrator.jobs.worker",
        "orchestrator.jobs.worker": "from orchestrator.jobs.store import JobStore",
    }
    (line,) = breaches(sources)
    assert line.startswith("circle: ")


def test_what_is_allowed_is_not_a_breach() -> None:
    sources = {
        "orchestrator.errors": "from dataclasses import dataclass",
        "orchestrator.params": "from orchestrator.errors import Violation",
        "orchestrator.imaging.codec": "import cv2\nfrom orchestrator.params import ImageFormat",
        "orchestrator.diffusion.noise": "import numpy as np\nimport math",
        PIPELINE: "from orchestrator.diffusion import noise\nfrom orchestrator.errors import EngineFaultError",
        "orchestrator.server": "from orchestrator.errors import SettingsError\nimport grpc",
        "model_tools.export.graphs": "import torch",
    }
    assert breaches(sources) == []


def tree() -> Sources:
    """Every module of the repository's rooms."""
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path.read_text("utf-8")
        for room in ROOMS
        for path in sorted((ROOT / room).rglob("*.py"))
    }


def breaches(sources: Sources) -> list[str]:
    """One line for each import that the table forbids, and for a circle."""
    graph = {module: set(imports(module, source, sources)) for module, source in sources.items()}
    found = [f"{module}: {reason}" for module, names in graph.items() for reason in sorted(reasons(module, names))]
    # A package is not counted as what its modules depend on: __init__.py files are docstrings here.
    inside = {module: {name for name in names if name in sources} for module, names in graph.items()}
    try:
        TopologicalSorter(inside).prepare()
    except CycleError as error:
        found.append(f"circle: {' -> '.join(error.args[1])}")
    return found


def circle_of_folders(sources: Sources) -> list[str]:
    """Folders that import each other in a circle; empty where there is none.

    Modules of a folder count as the folder; those next to folders, such as gateway/errors.py, as themselves. A folder
    within a folder counts as that one, but in model_tools, where it counts by itself.
    """
    packages = {name.rpartition(".")[0] for name in sources}

    def folder_of(module: str) -> str:
        if not module.startswith("model_tools."):
            return ".".join(module.split(".")[:2])
        return module if module.count(".") < 2 or module in packages else module.rpartition(".")[0]

    folders: dict[str, set[str]] = {}
    for module, source in sources.items():
        named = {folder_of(name) for name in imports(module, source, sources) if name in sources}
        folders.setdefault(folder_of(module), set()).update(named - {folder_of(module)})
    try:
        TopologicalSorter(folders).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def imports(module: str, source: str, sources: Sources) -> Iterator[str]:
    """Full names of what a module imports; `from package import module` names the module."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = module.split(".")[: -node.level] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            for alias in node.names:
                full = f"{base}.{alias.name}"
                yield full if full in sources else base


def reasons(module: str, names: set[str]) -> Iterator[str]:
    """What is wrong with the imports of one module."""
    if module.startswith("orchestrator."):
        yield from floor_reasons(module, names)
    if module.startswith(("orchestrator", "gateway")):
        for name in names:
            only = ONLY.get(name.partition(".")[0])
            if only and not inside(module, *only):
                yield f"imports {name}, which only {', '.join(only)} may"
    yield from shared_reasons(module, names)
    for name in names:
        if name.partition(".")[0] in TRAINING and not inside(module, *MAY_TRAIN):
            yield f"imports {name}, which only {', '.join(MAY_TRAIN)} may"
        if inside(name, "orchestrator") and inside(module, "gateway", "engines"):
            yield f"imports {name}; nothing of the orchestrator belongs there"
        if module in OF_PIPELINE and name in OVER_TRITON:
            yield f"imports {name}; the pipeline knows networks by contract only"
        if (
            inside(module, "orchestrator.diffusion")
            and module not in OF_PIPELINE
            and not may_use_in_diffusion(module, name)
        ):
            yield f"imports {name}; diffusion below the pipeline is numpy alone"


def shared_reasons(module: str, names: set[str]) -> Iterator[str]:
    """Imports of what orchestrator, gateway and local share."""
    for name in names:
        if inside(module, "common") and inside(name, *ROOMS[1:]):
            yield f"imports {name}; what all share knows none of them"


def may_use_in_diffusion(module: str, name: str) -> bool:
    """Numpy, the standard library, the room itself, arrays.py; and `tokenizers`, about which ONLY has its own rule."""
    if name == "tokenizers":
        return module in ONLY["tokenizers"]
    return name.partition(".")[0] in sys.stdlib_module_names or inside(name, *MAY_USE_DIFFUSION)


def floor_reasons(module: str, names: set[str]) -> Iterator[str]:
    """Imports of the orchestrator's own modules that do not go downwards."""
    room = ".".join(module.split(".")[:2])
    if room not in FLOORS:
        yield f"{room} has no floor"
        return
    for name in names:
        other = ".".join(name.split(".")[:2])
        if other in FLOORS and other != room and FLOORS[other] >= FLOORS[room]:
            yield f"imports {name}, on floor {FLOORS[other][0]}, from floor {FLOORS[room][0]}"


def inside(name: str, *rooms: str) -> bool:
    """Whether a module is one of the rooms, or in one."""
    return any(name == room or name.startswith(f"{room}.") for room in rooms)
