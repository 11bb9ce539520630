"""Checkpoints of a model hub: downloaded by huggingface_hub, without pickles and without what is not read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from httpx2 import HTTPError
from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from huggingface_hub.hf_api import RepoFile

from model_tools.checkpoints.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Mapping

ID = re.compile(r"[\w.-]+/[\w.-]+")
TEXTS = ("model_index.json", "README.md", "*/*.json", "*/*.txt", "*/*.jinja")
UNREAD = ("*non_ema*",)
FOLDERS = ("unet", "transformer", "vae", "text_encoder", "text_encoder_2", "text_encoder_3")
FULL = tuple(f"{folder}/*.safetensors" for folder in FOLDERS)
WRONG = (HfHubHTTPError, HFValidationError, HTTPError, OSError)
"""What huggingface_hub raises where there is no such checkpoint, or no hub."""


@dataclass(frozen=True)
class Announced:
    """What a hub says of a checkpoint: its commit, and the SHA-256 of each large file by its path."""

    commit: str
    digests: Mapping[str, str]


def find_checkpoint(text: str) -> Path:
    """The folder or file of that name; or else the hub's checkpoint of that id, downloaded (or found in its cache).

    Raises:
        CheckpointError: it is not one of these, or the hub cannot be reached.
    """
    path = Path(text)
    if path.exists() or not ID.fullmatch(text):
        return path
    try:
        return download(text)
    except CheckpointError as error:
        raise CheckpointError(f"{text}: not a folder or file here, and {error}") from error


def download(name: str, revision: str | None = None, endpoint: str | None = None) -> Path:
    """Fetch what `add` reads of a checkpoint, or find it in huggingface_hub's cache.

    Args:
        name: its id on the hub.
        revision: branch, tag or commit; None for the main branch.
        endpoint: URL of the hub; None for HF_ENDPOINT, or the public one.

    Raises:
        CheckpointError: the hub does not have it, or cannot be reached.
    """
    where = {"revision": revision, "endpoint": endpoint}
    try:
        folder = Path(
            snapshot_download(name, allow_patterns=[*TEXTS, *FULL], ignore_patterns=[*UNREAD, "*.fp16*"], **where)
        )
        if halves := [f"{part}/*.safetensors" for part in FOLDERS if _is_bare(folder / part)]:
            snapshot_download(name, allow_patterns=halves, ignore_patterns=list(UNREAD), **where)
    except WRONG as error:
        raise CheckpointError(_refusal(name, error)) from error
    return folder


def announced(name: str, revision: str, endpoint: str | None = None) -> Announced:
    """Ask a hub what a revision of a checkpoint is.

    Raises:
        CheckpointError: as download says it.
    """
    api = HfApi(endpoint=endpoint)
    try:
        commit = str(api.model_info(name, revision=revision).sha)
        tree = list(api.list_repo_tree(name, recursive=True, revision=commit))
    except WRONG as error:
        raise CheckpointError(_refusal(name, error)) from error
    large = [each for each in tree if isinstance(each, RepoFile) and each.lfs]
    return Announced(commit, {each.path: each.lfs.sha256 for each in large})


def _refusal(name: str, error: Exception) -> str:
    reason = " ".join(str(error).split())[:300] or type(error).__name__
    return f"the model hub does not have {name}: {reason}"


def _is_bare(folder: Path) -> bool:
    """Whether a network's folder has its configuration and no weights."""
    return (folder / "config.json").is_file() and not any(folder.glob("*.safetensors"))
