"""The Python package `imagegen.v1`, generated from proto/ (ADR 0004), in the home folder."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from local.environments import Environment
from local.errors import EnvironmentSetupError
from local.folders import HOME, ROOT

_PROTOS = ROOT / "proto"
_PACKAGE = "imagegen/v1"


def ensure(environment: Environment, home: Path = HOME) -> None:
    """Generate the package, unless it is there and current; with type stubs where mypy-protobuf is installed.

    Args:
        environment: has the generator.
        home: the folder that the package is generated in.

    Raises:
        EnvironmentSetupError: the generator failed; with what it said.
    """
    protos = sorted((_PROTOS / _PACKAGE).glob("*.proto"))
    typed = (environment.folder / "bin" / "protoc-gen-mypy").exists()
    digest = hashlib.sha256(b"\0".join(proto.read_bytes() for proto in protos)).hexdigest() + " typed" * typed
    package = home / _PACKAGE
    package.mkdir(parents=True, exist_ok=True)
    stamp = package / ".stamp"
    descriptor = os.open(package, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # another process may be generating it
        if stamp.is_file() and stamp.read_text(encoding="utf-8").startswith(digest):
            return
        with tempfile.TemporaryDirectory(dir=home) as fresh:
            _generate(environment, protos, Path(fresh), typed=typed)
            for file in sorted((Path(fresh) / _PACKAGE).iterdir()):
                shutil.move(str(file), str(package / file.name))
        for marker in (home / "imagegen" / "__init__.py", package / "__init__.py", home / "imagegen" / "py.typed"):
            marker.touch()
        stamp.write_text(digest + "\n", encoding="utf-8")
    finally:
        os.close(descriptor)


def _generate(environment: Environment, protos: list[Path], target: Path, *, typed: bool) -> None:
    outputs = ["--python_out", "--grpc_python_out"]
    command = [str(environment.python), "-m", "grpc_tools.protoc", f"-I{_PROTOS}"]
    command += [f"{output}={target}" for output in outputs]
    if typed:
        command += [f"--mypy_out=quiet:{target}", f"--mypy_grpc_out=quiet:{target}"]
    path = os.pathsep.join([str(environment.folder / "bin"), os.environ.get("PATH", os.defpath)])
    command += [str(proto) for proto in protos]
    done = subprocess.run(command, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise EnvironmentSetupError(f"the package {_PACKAGE} could not be generated:\n{done.stdout}{done.stderr}")
