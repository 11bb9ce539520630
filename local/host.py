"""What the embedded Triton needs of the machine and of its Python, checked before anything is started.

The facts are asked of the Python that Triton would run, by a short program: it need not be the one that runs this.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from local.errors import HostError

PYTHONS = ("3.11", "3.12")  # of these both numpy 1.26 and the server's stub exist
_GLIBC = (2, 35)  # that the wheel is built for
ELSEWHERE = (
    "There, run the container images: docs/operations.md says how; on arm64 and macOS as `--platform linux/amd64`."
)

_PROBE = """
import importlib.metadata, importlib.util, json, os, platform, sys, sysconfig
def version(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""
get = sysconfig.get_config_var
wheel = importlib.util.find_spec("pytriton")
folders = [get("LIBDIR") or "", os.path.join(get("LIBDIR") or "", get("MULTIARCH") or ""),
           os.path.join(sys.base_prefix, "lib")]
library = "libpython%d.%d.so.1.0" % sys.version_info[:2]
print(json.dumps({
    "version": "%d.%d" % sys.version_info[:2],
    "system": platform.system(),
    "machine": platform.machine(),
    "libc": " ".join(platform.libc_ver()),
    "libpython": next((f for f in folders if os.path.isfile(os.path.join(f, library))), ""),
    "packages": sysconfig.get_path("purelib"),
    "numpy": version("numpy"),
    "openvino": version("openvino"),
    "ensurepip": importlib.util.find_spec("ensurepip") is not None,
    "pytriton": wheel.submodule_search_locations[0] if wheel else "",
}))
"""


@dataclass(frozen=True)
class Host:
    """A Python and the machine it runs on.

    Attributes:
        version: of Python, "3.11".
        system: "Linux".
        machine: "x86_64".
        libc: "glibc 2.36".
        libpython: the folder of its shared libpython; "" if it has none.
        packages: its site-packages.
        numpy: installed version; "" if not installed.
        openvino: the same.
        pytriton: folder of the wheel that carries the server; "" if not installed.
        ensurepip: whether it can create environments; Debian leaves that to a package of its own.
    """

    version: str
    system: str
    machine: str
    libc: str
    libpython: str
    packages: str
    numpy: str = ""
    openvino: str = ""
    pytriton: str = ""
    ensurepip: bool = True


def inspect(python: Path | str) -> Host:
    """Ask a Python about itself.

    Raises:
        HostError: it does not run.
    """
    try:
        answer = subprocess.run(
            [str(python), "-I", "-c", _PROBE], capture_output=True, text=True, check=True, timeout=60
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise HostError(f"{python} does not run: {error}") from error
    return Host(**json.loads(answer))


def check_machine(host: Host) -> None:
    """Check that the wheel's Triton can run here, under this Python.

    Raises:
        HostError: it cannot; the message says why.
    """
    check_platform(host)
    check_python(host)


def check_platform(host: Host) -> None:
    """Check that the wheel's Triton can run on this machine, with whatever Python.

    Raises:
        HostError: it cannot; the message says why, and what to do in place of it.
    """
    name, _, libc = host.libc.partition(" ")
    if (host.system, host.machine) != ("Linux", "x86_64"):
        raise HostError(f"the embedded Triton runs on x86-64 Linux, not on {host.system} {host.machine}. {ELSEWHERE}")
    if name != "glibc" or _numbers(libc) < _GLIBC:
        raise HostError(
            f"the embedded Triton needs glibc 2.35 or newer, not {host.libc or 'another libc'}. {ELSEWHERE}"
        )


def check_python(host: Host) -> None:
    """Check that the environments can be created with this Python.

    Raises:
        HostError: they cannot; the message says why.
    """
    if host.version not in PYTHONS:
        raise HostError(
            f"The embedded Triton needs Python {' or '.join(PYTHONS)} (its numpy below 2 has no wheels for others); "
            f"this is {host.version}."
        )
    if not host.libpython:
        raise HostError(
            f"The embedded Triton needs a Python with a shared libpython, and Python {host.version} here has none "
            f"(Debian and Ubuntu: `apt install libpython{host.version}`)."
        )
    if not host.ensurepip:
        raise HostError(
            f"Python {host.version} here cannot create virtual environments (Debian and Ubuntu: `apt install "
            f"python{host.version}-venv`)."
        )


def check_packages(host: Host) -> None:
    """Check what is installed in Triton's environment.

    Raises:
        HostError: something is missing, or numpy is too new.
    """
    again = "delete the folder .triton and start again"
    missing = [name for name in ("pytriton", "numpy", "openvino") if not getattr(host, name)]
    if missing:
        raise HostError(f"Triton's environment {host.packages} lacks {', '.join(missing)}: {again}")
    if _numbers(host.numpy) >= (2,):
        raise HostError(
            f"Triton's environment {host.packages} has numpy {host.numpy}. The server's Python backend needs numpy "
            f"below 2: with a newer one it passes zeros to every model without an error. To fix it, {again}"
        )


def _numbers(version: str) -> tuple[int, ...]:
    """Return the leading numbers of a version: 2.36 of "2.36-9"."""
    numbers: list[int] = []
    for part in version.split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        numbers.append(int(digits))
    return tuple(numbers)
