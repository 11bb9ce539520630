"""The catalogue of published checkpoints: models.toml, or another file of its form."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_tools.adding.names import NAME
from model_tools.checkpoints.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Mapping

CATALOGUE = Path(__file__).with_name("models.toml")
SHA256 = re.compile(r"[0-9a-f]{64}")
SETTINGS = frozenset(("precision", "few-step", "steps", "guidance", "sizes", "prediction-type"))
"""Options of `add` that an entry may give."""


@dataclass(frozen=True)
class Entry:
    """A published checkpoint. models.toml explains the fields."""

    name: str
    title: str
    about: str
    hub: str
    revision: str
    license: str
    commercial: bool
    gated: bool
    parameters: float
    download: float
    memory: float
    serves: tuple[str, ...]
    add: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def options(self) -> list[str]:
        """Words of `add` for its settings."""
        return [word for option, value in self.add.items() for word in (f"--{option}", value)]


def load(path: Path = CATALOGUE) -> dict[str, Entry]:
    """The entries by name.

    Raises:
        CheckpointError: the file is not a catalogue; names the entry and the key.
    """
    try:
        tables = tomllib.loads(path.read_text("utf-8"))["models"]
        return {name: _entry(name, table) for name, table in tables.items()}
    except (
        OSError,
        UnicodeDecodeError,
        tomllib.TOMLDecodeError,
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
    ) as error:
        raise CheckpointError(f"{path}: not a catalogue: {error}") from error


def _entry(name: str, table: dict[str, Any]) -> Entry:
    needed = {each.name for each in fields(Entry)} - {"name", "add", "files"}
    if missing := sorted(needed - table.keys()):
        raise ValueError(f"models.{name} lacks {', '.join(missing)}")
    if unknown := sorted(table.keys() - needed - {"add", "files"}):
        raise ValueError(f"models.{name} has unknown keys {', '.join(unknown)}")
    if not NAME.fullmatch(name):
        raise ValueError(f"models.{name} cannot be the name of a family: lower-case letters, digits, - and _")
    add = {option: str(value) for option, value in table.get("add", {}).items()}
    if strange := sorted(add.keys() - SETTINGS):
        raise ValueError(f"models.{name}.add has {', '.join(strange)}; an entry may give {', '.join(sorted(SETTINGS))}")
    files = {file: str(digest) for file, digest in table.get("files", {}).items()}
    if wrong := [file for file, digest in files.items() if digest and not SHA256.fullmatch(digest)]:
        raise ValueError(f"models.{name}.files: the digest of {wrong[0]} is not a SHA-256 in hexadecimal digits")
    return Entry(name=name, **{**table, "serves": tuple(table["serves"]), "add": add, "files": files})


def find(name: str, path: Path = CATALOGUE) -> Entry:
    """One entry.

    Raises:
        CheckpointError: there is none of that name; the message lists those that there are.
    """
    entries = load(path)
    if name not in entries:
        raise CheckpointError(f"the catalogue has no {name}; it has {', '.join(entries)}")
    return entries[name]
