"""Generates the package imagegen.v1, the code of the schema, into the wheel of the server.

clients/python has a hook of its own: an sdist must hold all that builds it, and that wheel renames what is generated.
"""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.config import BuilderConfig
from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CustomBuildHook(BuildHookInterface[BuilderConfig]):
    """Called by hatchling."""

    def initialize(
        self,
        version: str,  # noqa: ARG002 - of the interface
        build_data: dict[str, Any],
    ) -> None:
        """Generate, and add what was generated."""
        protos = Path(self.root) / "proto"
        folder = Path(tempfile.mkdtemp(prefix="imagegen-server-"))
        sources = sorted(str(path) for path in (protos / "imagegen/v1").glob("*.proto"))
        outputs = [f"--python_out={folder}", f"--grpc_python_out={folder}"]
        subprocess.run([sys.executable, "-m", "grpc_tools.protoc", f"-I{protos}", *outputs, *sources], check=True)
        for package in ("imagegen", "imagegen/v1"):
            (folder / package / "__init__.py").touch()
        for path in sorted(folder.rglob("*.py")):
            build_data["force_include"][str(path)] = str(path.relative_to(folder))
