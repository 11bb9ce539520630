"""The folder where a family is made before it is moved in: it survives a kill, and the same command goes on from it."""

from __future__ import annotations

import fcntl
import json
import shutil
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

MODELS, TOKENIZERS, OLD = "models", "tokenizers", "old"


class AddError(Exception):
    """What the caller must mend; the message says what."""


class Staging:
    """A folder next to the repository (Triton would take one inside for a model), with a stamp of what it is made of.

    Attributes:
        path: of the folder.
        done: of each model folder that is finished, what was noted of it.
    """

    def __init__(self, repository: Path, families: Path, name: str, key: str) -> None:
        """Open it: what an earlier command of the same key finished stays, all else is removed.

        Args:
            repository: the folder of model folders; it need not be there yet.
            families: path of families.toml, next to which tokenizers belong.
            name: of the family.
            key: digest of all that the model folders depend on.

        Raises:
            AddError: another command is adding that family now.
        """
        self._places = {MODELS: repository.resolve(), TOKENIZERS: families.resolve().parent}
        self.path = place_of(repository, name)
        self.path.mkdir(parents=True, exist_ok=True)
        self._stamp = self.path / "stamp.json"
        self._key, self._lock = key, _locked(self.path / "lock", name)
        self.done: dict[str, dict[str, Any]] = {}
        try:
            self._go_on()
        except BaseException:
            self.remove()
            raise

    def _go_on(self) -> None:
        self._undo_moves()
        stamp = self._read()
        if stamp.get("key") == self._key:
            self.done = {model: note for model, note in stamp["done"].items() if (self.models / model).is_dir()}
        for kind in (OLD, TOKENIZERS, *(MODELS,) * (not self.done)):
            shutil.rmtree(self.path / kind, ignore_errors=True)
        for folder in _folders(self.models):
            if folder.name not in self.done:
                shutil.rmtree(folder)
        self._write()

    @property
    def models(self) -> Path:
        """Where model folders are made."""
        return self.path / MODELS

    @property
    def tokenizers(self) -> Path:
        """Where tokenizers are written."""
        return self.path / TOKENIZERS

    def finish(self, model: str, note: dict[str, Any]) -> None:
        """Note that a model folder is complete."""
        self.done[model] = note
        self._write()

    def move_in(self, stale: Iterable[str], publish: Callable[[], None]) -> None:
        """Move model folders into the repository, and tokenizers next to families.toml.

        Args:
            stale: model folders of the family that is replaced; they go, as do folders of the same names.
            publish: called last; if it fails, or a move does, nothing has changed in the end.
        """
        moves: list[tuple[Path, Path]] = []
        for kind, place in self._places.items():
            names = [folder.name for folder in _folders(self.path / kind)]
            gone = dict.fromkeys([*names, *(stale if kind == MODELS else ())])
            moves += [(place / name, self.path / OLD / kind / name) for name in gone if (place / name).is_dir()]
            moves += [(self.path / kind / name, place / name) for name in names]
        made: list[tuple[Path, Path]] = []
        try:
            for source, target in moves:
                _move(source, target)
                made.append((source, target))
            publish()
        except BaseException:
            for source, target in reversed(made):
                _move(target, source)
            raise

    def remove(self) -> None:
        """Remove the folder and all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.close()

    def leave(self) -> None:
        """Close it, for the same command to go on."""
        self._lock.close()

    def _undo_moves(self) -> None:
        """After a kill amid move_in: take back what had been moved, put back what had been moved away."""
        for model in self._read().get("done", {}):
            place = self._places[MODELS] / model
            if not (self.models / model).exists() and place.is_dir():
                _move(place, self.models / model)
        for kind, place in self._places.items():
            for folder in _folders(self.path / OLD / kind):
                if not (place / folder.name).exists():
                    _move(folder, place / folder.name)

    def _read(self) -> dict[str, Any]:
        try:
            return dict(json.loads(self._stamp.read_text("utf-8")))
        except (OSError, ValueError):
            return {}

    def _write(self) -> None:
        new = self._stamp.with_suffix(".new")
        new.write_text(json.dumps({"key": self._key, "done": self.done}), "utf-8")
        new.replace(self._stamp)


def place_of(repository: Path, name: str) -> Path:
    """Where a family of that name is made."""
    return repository.resolve().parent / f".{name}.partial"


def _locked(path: Path, name: str) -> IO[str]:
    lock = path.open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise AddError(f"{name} is being added by another command ({path.parent})") from error
    return lock


def _folders(path: Path) -> list[Path]:
    return sorted(entry for entry in path.iterdir() if entry.is_dir()) if path.is_dir() else []


def _move(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(source, target)
