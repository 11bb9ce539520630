"""Base images of a release are named by digest, or nothing is built."""

import json
import re
from pathlib import Path

import pytest

from local import images
from local.errors import LocalError

DIGEST = "sha256:" + "a1" * 32


@pytest.fixture
def digests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of digests of this test's own."""
    path = tmp_path / "digests.json"
    path.write_text(json.dumps({images.BASE: DIGEST, images.POSTGRES: ""}), "utf-8")
    monkeypatch.setattr(images, "DIGESTS", path)
    return path


@pytest.mark.usefixtures("digests")
def test_a_base_image_is_named_by_its_digest() -> None:
    assert images.pinned(images.BASE) == f"docker.io/library/python@{DIGEST}"


@pytest.mark.parametrize("known", ["", "latest", "sha256:12", "sha256:" + "A1" * 32, DIGEST + "\n"])
def test_a_release_on_a_bare_tag_is_refused(digests: Path, known: str) -> None:
    digests.write_text(json.dumps({images.BASE: known}), "utf-8")
    with pytest.raises(LocalError, match=rf"has no digest of {re.escape(images.BASE)}: run .*--refresh-digests"):
        images.pinned(images.BASE)


def test_every_base_image_is_in_the_file() -> None:
    assert json.loads(images.DIGESTS.read_text("utf-8")).keys() == {images.BASE, images.POSTGRES}


@pytest.mark.parametrize(
    ("base", "option"), [(f"docker.io/library/python@{DIGEST}", "--pull"), (images.BASE, "--pull-never")]
)
def test_the_base_reaches_the_build(monkeypatch: pytest.MonkeyPatch, base: str, option: str) -> None:
    commands: list[list[str]] = []

    def run(command: list[str]) -> str:
        commands.append(command)
        return ""

    monkeypatch.setattr(images, "run", run)
    images.build("gateway", "localhost/imagegen/gateway:0.1.0", base)
    assert f"--build-arg=PYTHON={base}" in commands[-1]
    assert option in commands[-1]
