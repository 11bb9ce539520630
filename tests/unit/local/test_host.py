"""What the embedded Triton needs of machine and Python, each lack in a clear message."""

import dataclasses
import sys
from pathlib import Path
from typing import Any, cast

import pytest

from local import host
from local.errors import HostError

GOOD = host.Host(
    version="3.11",
    system="Linux",
    machine="x86_64",
    libc="glibc 2.36",
    libpython="/usr/lib",
    packages="/env/site-packages",
    numpy="1.26.4",
    openvino="2026.4.1",
    pytriton="/env/site-packages/pytriton",
)


def test_a_good_host_passes() -> None:
    host.check_machine(GOOD)
    host.check_machine(dataclasses.replace(GOOD, version="3.12", libc="glibc 2.35"))
    host.check_packages(GOOD)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"machine": "aarch64"}, "runs on x86-64 Linux, not on Linux aarch64"),
        ({"system": "Darwin"}, "runs on x86-64 Linux, not on Darwin x86_64"),
        ({"libc": "glibc 2.31"}, r"needs glibc 2\.35 or newer, not glibc 2\.31"),
        ({"libc": ""}, "needs glibc 2.35 or newer, not another libc"),
        ({"version": "3.13"}, r"needs Python 3\.11 or 3\.12 .*; this is 3\.13"),
        (
            {"ensurepip": False},
            r"Python 3\.11 here cannot create virtual environments .*`apt install python3\.11-venv`",
        ),
        ({"version": "3.10"}, r"this is 3\.10"),
        ({"libpython": ""}, r"shared libpython, and Python 3\.11 here has none .*`apt install libpython3\.11"),
    ],
)
def test_another_machine_is_refused_with_what_to_do(change: dict[str, Any], message: str) -> None:
    with pytest.raises(HostError, match=message) as caught:
        host.check_machine(dataclasses.replace(GOOD, **change))
    assert ("run the container images" in str(caught.value)) is bool({"machine", "system", "libc"} & change.keys())


@pytest.mark.parametrize("version", ["2.0.0", "2.4.6", "3.0"])
def test_numpy_2_is_refused_before_it_can_hand_in_zeros(version: str) -> None:
    with pytest.raises(HostError, match=rf"has numpy {version}\. .*below 2.*zeros.*delete the folder \.triton"):
        host.check_packages(dataclasses.replace(GOOD, numpy=version))


@pytest.mark.parametrize("package", ["numpy", "openvino", "pytriton"])
def test_a_missing_package_is_named(package: str) -> None:
    with pytest.raises(HostError, match=f"lacks {package}: delete the folder .triton"):
        host.check_packages(dataclasses.replace(GOOD, **cast("dict[str, Any]", {package: ""})))


def test_this_python_describes_itself() -> None:
    facts = host.inspect(sys.executable)
    assert facts.version == f"{sys.version_info.major}.{sys.version_info.minor}"
    assert facts.numpy.startswith("2."), "of the environment that it runs in"
    assert facts.system == "Linux"


def test_a_program_that_is_not_python_is_named(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="nowhere does not run"):
        host.inspect(tmp_path / "nowhere")
    with pytest.raises(HostError, match="false does not run"):
        host.inspect("/bin/false")
