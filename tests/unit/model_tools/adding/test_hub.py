"""Checkpoints by hub id: what is asked of huggingface_hub, and what is said where it cannot be reached. No network."""

from pathlib import Path

import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from model_tools.adding import hub
from model_tools.checkpoints.errors import CheckpointError

pytestmark = pytest.mark.tools


def test_local_files_are_not_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "snapshot_download", lambda *_, **__: pytest.fail("asked"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "some" / "model").mkdir(parents=True)
    assert hub.find_checkpoint("some/model") == Path("some/model")
    assert hub.find_checkpoint("nowhere/at/all") == Path("nowhere/at/all")
    assert hub.find_checkpoint("model.safetensors") == Path("model.safetensors")


@pytest.mark.parametrize("halved", [False, True])
def test_full_weights_are_asked_for_and_halves_where_there_are_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, halved: bool
) -> None:
    asked: list[tuple[list[str], list[str]]] = []

    def download(name: str, *, allow_patterns: list[str], ignore_patterns: list[str], **where: object) -> str:
        assert (name, where) == ("some/model", {"revision": None, "endpoint": None})
        asked.append((allow_patterns, ignore_patterns))
        for part in ("unet", "vae"):
            (tmp_path / part).mkdir(exist_ok=True)
            (tmp_path / part / "config.json").touch()
        (tmp_path / "vae" / "diffusion_pytorch_model.safetensors").touch()
        if not halved:
            (tmp_path / "unet" / "diffusion_pytorch_model.safetensors").touch()
        return str(tmp_path)

    monkeypatch.setattr(hub, "snapshot_download", download)
    assert hub.find_checkpoint("some/model") == tmp_path
    patterns, ignored = asked[0]
    assert {"model_index.json", "README.md", "*/*.jinja", "unet/*.safetensors", "transformer/*.safetensors"} <= set(
        patterns
    )
    assert not any(pattern.endswith((".bin", ".ckpt", "/*", "*")) for pattern in patterns)
    assert "*.fp16*" in ignored
    assert [allowed for allowed, _ in asked[1:]] == ([["unet/*.safetensors"]] if halved else [])


def test_without_a_hub_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> str:
        raise LocalEntryNotFoundError("outgoing traffic has been disabled\nand more")

    monkeypatch.setattr(hub, "snapshot_download", fail)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        CheckpointError,
        match=r"some/model: not a folder or file here, .*: outgoing traffic has been disabled and more$",
    ):
        hub.find_checkpoint("some/model")
