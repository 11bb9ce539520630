"""What images are made of: locked, listed, pinned by digests, and free of what they may not contain."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tests.deploy.test_chart import containers, pods
from tests.deploy.tools import CHART, ROOT, run, template

DIGEST = "sha256:" + "5" * 64
SCRIPT = ROOT / "docker" / "sbom.py"
LOCKS = sorted(path for path in (ROOT / "requirements").glob("*.txt") if path.stem != "unused")  # which pins nothing
DEBIAN = """\
Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2.36-9+deb12u9

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1
"""
ELF = b"\x7fELF" + bytes(12)


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.stem)
def test_every_package_of_every_lock_has_a_hash(lock: Path) -> None:
    entries = re.split(r"\n(?=[A-Za-z0-9])", "\n" + lock.read_text("utf-8"))
    packages = [each for each in entries if re.match(r"[A-Za-z0-9._-]+(\[.*?\])?==", each)]
    assert packages
    for each in packages:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", each), each.splitlines()[0]


def test_nothing_is_installed_without_its_hash() -> None:
    files = [ROOT / "Makefile", ROOT / "local" / "environments.py", *(ROOT / "docker").glob("*.Dockerfile")]
    for path in files:
        text = " ".join(path.read_text("utf-8").replace("\\\n", " ").split())
        for command in re.findall(r"(?:-m\"?,? \"?pip\b.*?(?: install|\"install\"))(.*?)(?:&&|;|\n|$)", text):
            if "-r" in command:
                assert "require-hashes" in command, f"{path.name}: {command[:80]}"


@pytest.mark.parametrize("lock", ["service", "gateway", "triton", "tools"])
def test_no_lock_of_an_image_has_a_gpl_encoder(lock: str) -> None:
    assert "pillow-heif" not in (ROOT / "requirements" / f"{lock}.txt").read_text("utf-8")


def environment(folder: Path, library: str, sbom: object = None) -> Path:
    """An environment of one package that bundles a library."""
    packages = folder / "env" / "lib" / "python3.11" / "site-packages"
    files = {
        f"toy.libs/{library}": ELF,
        "toy/_core.cpython-311-x86_64-linux-gnu.so": ELF,
        "toy/bin/server": ELF,
        "toy/__init__.py": b"",
        "toy-1.0.dist-info/METADATA": b"Metadata-Version: 2.4\nName: Toy\nVersion: 1.0\nLicense-Expression: MIT\n",
        "toy-1.0.dist-info/sboms/auditwheel.cdx.json": json.dumps(sbom or {"components": []}).encode(),
    }
    files["toy-1.0.dist-info/RECORD"] = "".join(f"{name},,\n" for name in files).encode()
    for name, content in files.items():
        path = packages / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder / "env"


def listed(prefix: Path) -> subprocess.CompletedProcess[str]:
    """The list of an environment; it is valid whatever is found."""
    out = prefix.parent / "sbom.json"
    status = prefix.parent / "status"
    status.write_text(DEBIAN, "utf-8")
    command = [sys.executable, str(SCRIPT), "toy", "0.1.0", str(prefix), str(out), str(status)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - ours
    text = out.read_text("utf-8")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    return subprocess.CompletedProcess(command, done.returncode, text, done.stderr)


def test_the_list_names_system_packages_wheels_and_what_is_inside_them(tmp_path: Path) -> None:
    inner = {"name": "openssl-libs", "version": "1.1.1k", "purl": "pkg:rpm/almalinux/openssl-libs@1.1.1k"}
    done = listed(environment(tmp_path, "libheif-7a3e919c.so.1.23.0", {"components": [inner]}))
    assert done.returncode == 0, done.stderr
    components = {each["name"]: each for each in json.loads(done.stdout)["components"]}
    assert components["cpython"]["version"].startswith("3.")
    assert components["libc6"]["purl"] == "pkg:deb/debian/libc6@2.36-9%2Bdeb12u9?arch=amd64"
    assert "gone" not in components
    toy = components["Toy"]
    assert (toy["purl"], toy["licenses"]) == ("pkg:pypi/toy@1.0", [{"expression": "MIT"}])
    inside = {each["name"]: each for each in toy["components"]}
    assert inside.keys() == {"openssl-libs", "libheif", "server"}, "its own extension modules are itself"
    assert inside["libheif"]["version"] == "1.23.0"
    assert inside["libheif"]["evidence"]["occurrences"] == [{"location": "toy.libs/libheif-7a3e919c.so.1.23.0"}]


@pytest.mark.parametrize("library", ["libx265-4883ecb5.so.217", "libx264.so", "libimagequant-00000000.so.0"])
def test_an_image_with_a_gpl_encoder_is_not_built(tmp_path: Path, library: str) -> None:
    done = listed(environment(tmp_path, library))
    assert done.returncode == 1
    assert "which no image may contain" in done.stderr


def test_a_wheel_that_declares_one_is_refused_too(tmp_path: Path) -> None:
    inner = {"name": "x265", "version": "4.3"}
    assert listed(environment(tmp_path, "liba.so", {"components": [inner]})).returncode == 1
    optional = tmp_path / "optional"
    assert listed(environment(optional, "liba.so", {"components": [inner | {"scope": "optional"}]})).returncode == 0


def test_every_image_lists_its_parts() -> None:
    for path in (ROOT / "docker").glob("*.Dockerfile"):
        if not path.stem.startswith(("stand-in", "triton-gpu")):
            text = path.read_text("utf-8")
            assert f"RUN python /sbom.py {path.stem} " in text
            assert f"COPY --from=packages /sbom.json /usr/share/sbom/{path.stem}.cdx.json" in text


def test_a_release_names_every_image_by_its_digest() -> None:
    arguments = [f"--set=image.digests.{name}={DIGEST}" for name in ("gateway", "orchestrator", "triton-cpu")]
    arguments.append("--set=database.trial.password=of-a-test")
    refused = run("helm", "template", "trial", str(CHART), "--set=image.requireDigests=true", *arguments)
    assert refused.returncode != 0
    assert "image.requireDigests is true, and image imagegen/starter-models:" in refused.stderr
    arguments.append(f"--set=image.digests.starter-models={DIGEST}")
    refused = run("helm", "template", "trial", str(CHART), "--set=image.requireDigests=true", *arguments)
    assert "and image postgres:17-alpine has no digest" in refused.stderr
    arguments += [f"--set=database.trial.image=postgres@{DIGEST}", "--set=image.registry=registry.example"]
    found = [each for each in yaml.safe_load_all(template("--set=image.requireDigests=true", *arguments)) if each]
    images = {each["image"] for _, _, spec in pods(found) for each in containers(spec)}
    assert f"registry.example/imagegen/gateway@{DIGEST}" in images
    assert all("@sha256:" in each for each in images)


@pytest.mark.parametrize("values", ["image.digests.gateway=latest", "image.digests.gateway=sha256:12"])
def test_what_is_not_a_digest_is_refused(values: str) -> None:
    done = run("helm", "template", "trial", str(CHART), f"--set={values}")
    assert "/image/digests/gateway" in done.stderr


def test_the_release_workflow() -> None:
    """Actions by commit, no more rights than each job needs, and every step that docs/releases.md promises."""
    path = ROOT / ".github" / "workflows" / "release.yaml"
    text = path.read_text("utf-8")
    workflow = yaml.safe_load(text)
    for action in re.findall(r"uses: (\S+)", text):
        assert re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}", action), action
    assert workflow["permissions"] == {"contents": "read"}
    steps = ("make audit", "--release --refresh-digests", "cosign sign", "cosign attest", "provenance", "trivy")
    for step in (*steps, "hatchling build"):
        assert step in text, step
    done = run("checkov", "-f", str(path), "--framework", "github_actions", "--skip-download", "--quiet", "--compact")
    assert done.returncode == 0, done.stdout
