"""Checkpoints of a model hub: downloaded by huggingface_hub, without pickles and without what is not read."""

from __future__ import annotations

import re
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError

from model_tools.checkpoints.weights import CheckpointError

ID = re.compile(r"[\w.-]+/[\w.-]+")
TEXTS = ("model_index.json", "README.md", "*/*.json", "*/*.txt", "*/*.jinja")
UNREAD = ("*non_ema*",)
FOLDERS = ("unet", "transformer", "vae", "text_encoder", "text_encoder_2", "text_encoder_3")
FULL = tuple(f"{folder}/*.safetensors" for folder in FOLDERS)


def find_checkpoint(text: str) -> Path:
    """The folder or file of that name; or else the hub's checkpoint of that id, downloaded (or found in its cache).

    Raises:
        CheckpointError: it is not one of these, or the hub cannot be reached.
    """
    path = Path(text)
    if path.exists() or not ID.fullmatch(text):
        return path
    try:
        folder = Path(snapshot_download(text, allow_patterns=[*TEXTS, *FULL], ignore_patterns=[*UNREAD, "*.fp16*"]))
        if halves := [f"{name}/*.safetensors" for name in FOLDERS if _is_bare(folder / name)]:
            snapshot_download(text, allow_patterns=halves, ignore_patterns=list(UNREAD))
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise CheckpointError(
            f"{text}: not a folder or file here, and the model hub does not have it: {reason}"
        ) from error
    return folder


def _is_bare(folder: Path) -> bool:
    """Whether a network's folder has its configuration and no weights."""
    return (folder / "config.json").is_file() and not any(folder.glob("*.safetensors"))
