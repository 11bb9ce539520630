"""Names of families: what they look like, and which there are. For commands that need no torch."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


def names_in(path: Path) -> dict[str, Any]:
    """The tables "networks" and "families" of a families.toml; empty where there is no file."""
    data = tomllib.loads(path.read_text("utf-8")) if path.is_file() else {}
    return {kind: data.get(kind, {}) for kind in ("networks", "families")}
