"""A checkpoint of the catalogue, fetched from a model hub and verified, file by file. Needs no torch."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from model_tools.adding import hub
from model_tools.checkpoints.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from model_tools.catalogue.entries import Entry


def fetch(entry: Entry, revision: str, endpoint: str | None) -> Path:
    """The folder of a checkpoint in huggingface_hub's cache, every file of it verified.

    Raises:
        CheckpointError: the hub has no such checkpoint or cannot be reached, or a file is not what it should be; that
            file is then removed.
    """
    known = hub.announced(entry.hub, revision, endpoint)
    print(f"{entry.name}: {entry.hub} at {known.commit}, {entry.license}")
    folder = hub.download(entry.hub, known.commit, endpoint)
    verify(folder, {**known.digests, **{file: digest for file, digest in entry.files.items() if digest}})
    return folder


def verify(folder: Path, digests: Mapping[str, str]) -> None:
    """Compare the files of a checkpoint with what is known of them.

    Args:
        folder: of the checkpoint.
        digests: SHA-256 by path in it; of files that were not fetched, too.

    Raises:
        CheckpointError: a file has another digest; the file is removed, so that the next command fetches it again.
    """
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        if name not in digests:
            continue
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != digests[name]:
            path.resolve().unlink()  # of the cache, which has a link here
            path.unlink(missing_ok=True)
            raise CheckpointError(
                f"{name} has the SHA-256 {found}, expected is {digests[name]}; it is removed: try again"
            )
        print(f"{name}: SHA-256 {found} verified")
