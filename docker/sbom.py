# noqa: INP001 - a script of the Dockerfiles
"""`python sbom.py NAME VERSION PREFIX OUT [DPKG_STATUS]`: the list of an image's parts, in CycloneDX 1.6.

Lists Debian's packages, CPython, the Python packages of the environment at PREFIX, the native libraries and programs
that their wheels bundle (by their files, with hashes), and what the wheels' own SBOMs (PEP 770) say is inside them.
Runs in a build stage on the base of the image. Ends with status 1 if a library of REFUSED is found. Standard library
only.

What is linked statically into an extension module, and no SBOM of its wheel names, does not show.
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

REFUSED = ("x264", "x265", "fdk-aac", "xvidcore", "imagequant")
"""Encoders under the GPL, and one under no free licence: not in any image."""

Component = dict[str, Any]
_EXTENSION = re.compile(r"\.(cpython-\d+\S*|abi3)\.so$")
_LIBRARY = re.compile(r"^(?P<name>.+?)(-[0-9a-f]{8})?\.so(\.(?P<version>[\w.]+))?$")


def main(name: str, version: str, prefix: Path, out: Path, status: Path = Path("/var/lib/dpkg/status")) -> int:
    """Write the list."""
    components = [*debian(status), python(), *wheels(prefix)]
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"type": "container", "name": name, "version": version}},
        "components": components,
    }
    out.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", "utf-8")
    found = sorted({each for each in names(components) for refused in REFUSED if refused in each.lower()})
    if found:
        print(f"sbom: {name} has {', '.join(found)}, which no image may contain", file=sys.stderr)  # noqa: T201 - for the build's log
    return 1 if found else 0


def names(components: list[Component]) -> Iterator[str]:
    """The names of components, and of all inside them, less what a wheel may have and does not say that it has."""
    for component in components:
        if component.get("scope") != "optional":
            yield str(component["name"])
        yield from names(component.get("components", []))


def debian(status: Path) -> list[Component]:
    """The installed packages of Debian, by dpkg's own list."""
    if not status.is_file():
        return []
    found = []
    for paragraph in status.read_text("utf-8").split("\n\n"):
        fields = dict(re.findall(r"^([A-Za-z-]+): (.*)$", paragraph, re.MULTILINE))
        if fields.get("Status", "").endswith(" installed"):
            purl = f"pkg:deb/debian/{fields['Package']}@{fields['Version']}?arch={fields['Architecture']}"
            found.append(component(fields["Package"], fields["Version"], purl.replace("+", "%2B").replace("~", "%7E")))
    return found


def python() -> Component:
    """The CPython that runs this, which is not a package of Debian's in the images of Python."""
    version = platform.python_version()
    return component("cpython", version, f"pkg:generic/cpython@{version}") | licensed("PSF-2.0")


def wheels(prefix: Path) -> list[Component]:
    """The Python packages of an environment, each with what its wheel brings along."""
    folders = [str(path) for path in prefix.glob("lib/python3*/site-packages")]
    found = {each.metadata["Name"].lower(): each for each in distributions(path=folders)}
    return [wheel(found[name]) for name in sorted(found)]


def wheel(distribution: Distribution) -> Component:
    """One Python package."""
    name, version = distribution.metadata["Name"], distribution.version
    described = component(name, version, f"pkg:pypi/{name.lower().replace('_', '-')}@{version}")
    described |= licensed(distribution.metadata["License-Expression"])
    inside = [*declared(distribution), *bundled(distribution)]
    unique = {json.dumps(each, sort_keys=True): each for each in inside}
    return described | ({"components": list(unique.values())} if unique else {})


def declared(distribution: Distribution) -> Iterator[Component]:
    """What the SBOMs of a wheel name."""
    for path in distribution.files or ():
        if path.parent.name == "sboms" and path.suffix == ".json":
            for each in json.loads(path.read_text("utf-8")).get("components", []):
                if each.get("name") and each.get("version"):
                    scope = {"scope": "optional"} if each.get("scope") in {"optional", "excluded"} else {}
                    yield component(each["name"], each["version"], each.get("purl")) | scope


def bundled(distribution: Distribution) -> Iterator[Component]:
    """Native libraries and programs of a wheel; not its own extension modules."""
    for path in distribution.files or ():
        located = Path(str(path.locate()))
        if _EXTENSION.search(path.name) or not located.is_file():
            continue
        with located.open("rb") as file:
            if file.read(4) != b"\x7fELF":
                continue
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        match = _LIBRARY.match(path.name)
        described = component(match["name"] if match else path.name, (match and match["version"]) or "unknown", None)
        described["hashes"] = [{"alg": "SHA-256", "content": digest}]
        yield described | {"evidence": {"occurrences": [{"location": str(path)}]}}


def component(name: str, version: str, purl: str | None) -> Component:
    """An entry of the list."""
    return {"type": "library", "name": name, "version": version, **({"purl": purl} if purl else {})}


def licensed(expression: str | None) -> Component:
    """The licence of an entry, where it is known as an SPDX expression."""
    return {"licenses": [{"expression": expression}]} if expression else {}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], *map(Path, sys.argv[3:])))
