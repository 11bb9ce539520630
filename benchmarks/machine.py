"""What the figures were measured on: they mean nothing without it."""

import os
import platform
import re
from pathlib import Path

from benchmarks.workloads import REPO

_INTERESTING = ("avx512_bf16", "amx_bf16", "avx512f", "avx2")
_PACKAGES = {".triton": ("openvino", "nvidia_pytriton"), ".tools": ("torch", "diffusers"), ".venv": ("grpcio", "numpy")}


def describe() -> dict[str, str]:
    """CPU, memory, system, versions, and how busy the machine was before: above about 0.5 the figures are in doubt."""
    cpuinfo, meminfo = Path("/proc/cpuinfo").read_text("utf-8"), Path("/proc/meminfo").read_text("utf-8")
    flags = _field(cpuinfo, "flags").split()
    versions = [f"{package} {version}" for package, version in _versions().items()]
    return {
        "cpu": f"{os.cpu_count()} x {_field(cpuinfo, 'model name')}",
        "cpu features": ", ".join(flag for flag in _INTERESTING if flag in flags),
        "memory": f"{int(_field(meminfo, 'MemTotal').split()[0]) / 2**20:.0f} GiB",
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": ", ".join(versions),
        "load before": f"{os.getloadavg()[0]:.1f}",
    }


def _field(text: str, name: str) -> str:
    found = re.search(rf"^{name}\s*:\s*(.*)$", text, re.MULTILINE)
    return found[1] if found else "unknown"


def _versions() -> dict[str, str]:
    """Of what matters, by the folders that pip leaves in each environment."""
    return {
        package: folder.name.removeprefix(f"{package}-").removesuffix(".dist-info")
        for environment, packages in _PACKAGES.items()
        for package in packages
        for folder in (REPO / environment).glob(f"lib/python*/site-packages/{package}-*.dist-info")
    }
