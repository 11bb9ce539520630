"""Several files replaced together: all of them, or none."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def exchange(files: Mapping[Path, bytes | None]) -> None:
    """Write the contents of files, and remove those of None; in their order, the last one last.

    Raises:
        OSError: one cannot be written. Then nothing has changed.
    """
    new = {path: path.with_name(f".{path.name}.{os.getpid()}.new") for path, data in files.items() if data is not None}
    old = {path: path.with_name(f".{path.name}.{os.getpid()}.old") for path in files}
    done: list[Path] = []
    try:
        for path, place in new.items():
            data = files[path]
            assert data is not None  # noqa: S101  # those of None are not in new
            place.write_bytes(data)
        for path in files:
            if path.exists():
                os.link(path, old[path])
            done.append(path)
            if path in new:
                new[path].replace(path)
            else:
                path.unlink(missing_ok=True)
    except BaseException:
        for path in reversed(done):
            path.unlink(missing_ok=True)
            if old[path].exists():
                old[path].replace(path)
        raise
    finally:
        for place in (*new.values(), *old.values()):
            place.unlink(missing_ok=True)
