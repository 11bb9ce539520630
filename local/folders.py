"""Where the source is, and where everything goes that is written while imagegen is installed and run.

`HOME` holds `.venv`, `.triton`, `.local`, the generated package `imagegen` and `demo`. It is the source folder itself;
where that cannot be written (a read-only mount, another user's folder), a folder of the user's own:
${XDG_DATA_HOME:-~/.local/share}/imagegen/NAME, NAME from the source's path. IMAGEGEN_HOME sets another.

Runs in any Python 3.9, with the standard library alone, like all of what runs before there is an environment.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def find_home(environ: Mapping[str, str], root: Path = ROOT) -> Path:
    """Return the folder for everything that is written; it need not exist yet.

    Args:
        environ: IMAGEGEN_HOME, XDG_DATA_HOME and HOME are read. A relative IMAGEGEN_HOME starts at the source folder.
        root: the source folder.
    """
    if chosen := environ.get("IMAGEGEN_HOME", "").strip():
        return root / Path(chosen).expanduser()
    if os.access(str(root), os.W_OK):
        return root
    data, own = environ.get("XDG_DATA_HOME", "").strip(), environ.get("HOME", "").strip()
    if not data.startswith("/"):  # the specification has relative ones ignored
        data = f"{own}/.local/share" if own.startswith("/") else ""
    return Path(data) / "imagegen" / hash_path(root) if data else root


def hash_path(path: Path) -> str:
    """Return a short name for a path, the same each time: twelve hexadecimal digits."""
    return hashlib.sha256(os.fsencode(str(path.resolve()))).hexdigest()[:12]


HOME = find_home(os.environ)
