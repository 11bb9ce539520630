"""Licences: read from model cards, and refused where they are missing or do not allow commercial use."""

from pathlib import Path

import pytest

from model_tools.checkpoints.errors import CheckpointError
from model_tools.checkpoints.licences import is_commercial, read_licence, settle

pytestmark = pytest.mark.tools


def card(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "README.md").write_text(text, "utf-8")
    return folder


@pytest.mark.parametrize(
    "name",
    [
        "cc0-1.0",
        "mit",
        "apache-2.0",
        "creativeml-openrail-m",
        "openrail",
        "openrail++",
        "bigscience-openrail-m",
        "cc-by-4.0",
    ],
)
def test_licences_that_allow_commercial_use(name: str) -> None:
    assert is_commercial(name)


@pytest.mark.parametrize(
    "name",
    [
        "cc-by-nc-4.0",
        "CC-BY-NC-SA-4.0",
        "cc-by-nc-nd-4.0",
        "sai-nc-community",
        "flux-1-dev-non-commercial-license",
        "stabilityai-non-commercial-research-community",
        "stable-video-diffusion-1-1-nc-community",
        "faipl-noncommercial",
        "apple-research-only",
    ],
)
def test_licences_that_do_not(name: str) -> None:
    assert not is_commercial(name)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("---\nlicense: MIT\ntags: [a]\n---\nText.", "mit"),
        ("---\nlicense: other\nlicense_name: sai-nc-community\nlicense_link: x\n---\n", "sai-nc-community"),
        ("---\nlicense: other\n---\n", None),
        ("---\ntags: [a]\n---\n", None),
        ("---\nlicense: [\n---\n", None),
        ("# license: mit\n", None),
    ],
)
def test_the_cards_front_matter_counts(tmp_path: Path, text: str, expected: str | None) -> None:
    assert read_licence(card(tmp_path, text)) == expected


def test_a_file_has_the_card_next_to_it(tmp_path: Path) -> None:
    card(tmp_path, "---\nlicense: mit\n---\n")
    (tmp_path / "model.ckpt").touch()
    assert read_licence(tmp_path / "model.ckpt") == "mit"


def test_no_licence_is_refused_and_one_may_be_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="names no licence"):
        settle(tmp_path, None, [], allow_non_commercial=False)
    assert settle(tmp_path, "openrail", [], allow_non_commercial=False).name == "openrail"


def test_an_adapters_licence_counts_too(tmp_path: Path) -> None:
    base = card(tmp_path / "base", "---\nlicense: mit\n---\n")
    same, other = (
        card(tmp_path / "same", "---\nlicense: mit\n---\n"),
        card(tmp_path / "nc", "---\nlicense: cc-by-nc-4.0\n---\n"),
    )
    assert settle(base, None, [same, tmp_path], allow_non_commercial=False).name == "mit"
    with pytest.raises(CheckpointError, match=r"the licence cc-by-nc-4\.0 does not allow commercial use"):
        settle(base, None, [other], allow_non_commercial=False)
    settled = settle(base, None, [other], allow_non_commercial=True)
    assert (settled.name, settled.commercial) == ("mit AND cc-by-nc-4.0", False)
