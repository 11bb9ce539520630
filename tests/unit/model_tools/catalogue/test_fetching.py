"""Checkpoints fetched from a hub on loopback and verified; or one line that says why not. Needs no torch."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

import huggingface_hub
import pytest

from model_tools.catalogue import get
from model_tools.catalogue.entries import find
from model_tools.catalogue.fetching import fetch
from model_tools.checkpoints.errors import CheckpointError
from tests.unit.model_tools.catalogue.hub_server import COMMIT, Hub, entry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from model_tools.catalogue.entries import Entry

UNET = "unet/diffusion_pytorch_model.safetensors"
FILES = {
    "model_index.json": b"{}",
    "README.md": b"---\nlicense: mit\n---\n",
    UNET: bytes(range(256)) * 4000,
    "unet/diffusion_pytorch_model.non_ema.safetensors": b"more",
    "unet/diffusion_pytorch_model.bin": b"a pickle",
    "unet/config.json": b'{"of": "unet"}',
    "vae/config.json": b'{"of": "vae"}',
    "vae/diffusion_pytorch_model.safetensors": b"weights",
    "safety_checker/model.safetensors": b"never read",
}


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A checkpoint's files, as a hub has them."""
    folder = tmp_path / "published"
    for name, data in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


@pytest.fixture
def hub(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub, and an empty cache of what was fetched."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    huggingface_hub.utils.disable_progress_bars()
    with Hub({"somebody/sd": published}) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def catalogue(tmp_path: Path) -> Path:
    """A catalogue of one."""
    path = tmp_path / "models.toml"
    path.write_text(entry("sd"), "utf-8")
    return path


@pytest.fixture
def wanted(catalogue: Path) -> Entry:
    return find("sd", catalogue)


def fetched(hub: Hub) -> list[str]:
    """Files that were sent, whole or in part."""
    before = "/somebody/sd/resolve/"
    return [
        path.partition(before)[2].partition("/")[2]
        for method, path, _ in hub.requests
        if method == "GET" and before in path
    ]


def test_what_add_reads_is_fetched_and_verified(hub: Hub, wanted: Entry, capsys: pytest.CaptureFixture[str]) -> None:
    folder = fetch(wanted, "main", hub.url)
    unread = {name for name in FILES if "non_ema" in name or name.endswith(".bin") or "safety_checker" in name}
    assert sorted(fetched(hub)) == sorted(FILES.keys() - unread)
    assert (folder / UNET).read_bytes() == FILES[UNET]
    said = capsys.readouterr().out
    assert said.startswith(f"sd: somebody/sd at {COMMIT}, cc0-1.0\n")
    assert f"{UNET}: SHA-256 " in said
    hub.requests.clear()
    assert fetch(wanted, "main", hub.url) == folder
    assert not fetched(hub), "it is in the cache"


def test_half_a_file_is_continued(hub: Hub, wanted: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "DOWNLOAD_CHUNK_SIZE", 1000)
    half = len(FILES[UNET]) // 2
    hub.breaks[UNET] = half
    folder = fetch(wanted, "main", hub.url)
    assert (folder / UNET).read_bytes() == FILES[UNET]
    ranges = [asked for method, path, asked in hub.requests if method == "GET" and path.endswith(UNET)]
    assert ranges == ["", f"bytes={half}-"]


def test_the_next_command_fetches_what_the_last_one_did_not(hub: Hub, wanted: Entry) -> None:
    hub.failing.add(UNET)
    with pytest.raises(CheckpointError, match="the model hub does not have somebody/sd: "):
        fetch(wanted, "main", hub.url)
    earlier = set(fetched(hub)) - {UNET}
    hub.failing.clear()
    hub.requests.clear()
    folder = fetch(wanted, "main", hub.url)
    assert (folder / UNET).read_bytes() == FILES[UNET]
    assert UNET in fetched(hub)
    assert not earlier & set(fetched(hub))


def test_a_file_that_was_changed_on_its_way_is_found_and_fetched_again(hub: Hub, wanted: Entry) -> None:
    hub.spoiled.add(UNET)
    with pytest.raises(CheckpointError, match=rf"^{UNET} has the SHA-256 \w{{64}}, expected is \w{{64}}; "):
        fetch(wanted, "main", hub.url)
    hub.spoiled.clear()
    hub.requests.clear()
    fetch(wanted, "main", hub.url)
    assert fetched(hub) == [UNET]


def test_a_pinned_digest_counts_more_than_the_hubs(hub: Hub, catalogue: Path) -> None:
    catalogue.write_text(entry("sd") + f'files = {{ "{UNET}" = "{"0" * 64}", "vae/config.json" = "" }}\n', "utf-8")
    with pytest.raises(CheckpointError, match=f"expected is {'0' * 64}"):
        fetch(find("sd", catalogue), "main", hub.url)


@pytest.mark.parametrize("fault", ["gone", "gated", "revision", "unreachable"])
def test_a_hub_that_does_not_give_it_is_one_line(fault: str, hub: Hub, wanted: Entry) -> None:
    if fault == "gone":
        hub.checkpoints.clear()
    elif fault == "gated":
        hub.gated.add("somebody/sd")
    elif fault == "unreachable":
        hub.shutdown()
        hub.server_close()
    with pytest.raises(CheckpointError, match=r"the model hub does not have somebody/sd: .") as caught:
        fetch(wanted, "v9" if fault == "revision" else "main", hub.url)
    assert "\n" not in str(caught.value)


def test_the_command_says_one_line(hub: Hub, catalogue: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert get.main(["dragon", "--hub", hub.url, "--file", str(catalogue)]) == 1
    assert capsys.readouterr().err == "get: the catalogue has no dragon; it has sd\n"
    assert not hub.requests


def test_a_family_that_is_there_is_left_alone(hub: Hub, catalogue: Path, tmp_path: Path) -> None:
    families = tmp_path / "families.toml"
    families.write_text("[families.sd]\n", "utf-8")
    words = ["sd", "--hub", hub.url, "--file", str(catalogue), "--families", str(families)]
    assert get.main([*words, "--if-missing"]) == 0
    assert not hub.requests
