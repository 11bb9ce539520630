"""Generates the code of the schema into the wheel, with its types, as imagegen_client.v1.

In a source tree the modules of imagegen_client/v1 are the server's own generated code. A wheel has a copy of its own:
under another name, and in a descriptor pool of its own, so that it never meets another version of the schema that the
same process has.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.config import BuilderConfig
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

MODULES = ("generation", "jobs", "accounts")
_IMPORT = re.compile(r"^(from|import) imagegen\.v1\b", re.MULTILINE)
_REPLACED = (
    ("(DESCRIPTOR, 'imagegen.v1.", "(DESCRIPTOR, 'imagegen_client.v1."),
    ("_descriptor_pool.Default().AddSerializedFile", "POOL.AddSerializedFile"),
    ("from google.protobuf import descriptor_pool as _descriptor_pool", "from imagegen_client.pool import POOL"),
)


class CustomBuildHook(BuildHookInterface[BuilderConfig]):
    """Called by hatchling."""

    def initialize(
        self,
        version: str,  # noqa: ARG002 - of the interface
        build_data: dict[str, Any],
    ) -> None:
        """Generate, and add what was generated."""
        root = Path(self.root)
        protos = next(path for path in (root / "proto", root.parents[1] / "proto") if path.is_dir())
        folder = Path(tempfile.mkdtemp(prefix="imagegen-client-"))
        sources = [str(protos / f"imagegen/v1/{module}.proto") for module in MODULES]
        outputs = [f"--{kind}={folder}" for kind in ("python_out", "grpc_python_out", "mypy_out", "mypy_grpc_out")]
        plugins = [
            f"--plugin=protoc-gen-{name}={Path(sys.executable).parent}/protoc-gen-{name}"
            for name in ("mypy", "mypy_grpc")
        ]
        command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{protos}", *plugins, *outputs, *sources]
        subprocess.run(command, check=True)
        for path in sorted((folder / "imagegen/v1").iterdir()):
            path.write_text(_own(path.read_text("utf-8"), types=path.suffix == ".pyi"), "utf-8")
            build_data["force_include"][str(path)] = f"imagegen_client/v1/{path.name}"


def _own(text: str, *, types: bool) -> str:
    """Generated code under the client's own name. The services keep theirs, which travel."""
    if types:
        return text.replace("imagegen.v1", "imagegen_client.v1")
    text = _IMPORT.sub(r"\1 imagegen_client.v1", text)
    for old, new in _REPLACED:
        text = text.replace(old, new)
    return text
