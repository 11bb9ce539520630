"""Presets: named bundles of parameters, one JSON file each, under a request's own parameters."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from common.errors import SettingsError
from gateway import sentences
from gateway.contract import request as contract
from gateway.contract import words
from gateway.contract.blocks import JsonObject
from gateway.errors import BadRequestError

SHIPPED = Path(__file__).parents[1] / "presets"
"""The documented ones."""

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
# What one request alone can say.
_NOT_IN_PRESETS = ("preset", "url", "target", "webhooks")
# Generated clients send these with every request; whoever chooses a preset does not mean to overrule it by them.
_FILLED_IN: Mapping[str, object] = {"quality": 85, "dpi": 300, "print_reorientation": True}
# Whoever gives a size gives all of it: half of a preset's would distort it.
_SIZE = ("width", "height", "print_size")


class Presets:
    """The presets that this gateway knows."""

    def __init__(self, known: Mapping[str, JsonObject]) -> None:
        self._known = known

    @classmethod
    def load(cls, *folders: Path) -> "Presets":
        """Read every *.json of the folders; a later one replaces an earlier one of its name.

        Raises:
            SettingsError: one cannot be read, or is not a request; the message names the file.
        """
        known: dict[str, JsonObject] = {}
        for folder in folders:
            if not folder.is_dir():
                raise SettingsError(f"presets: {folder} is not a folder")
            for path in sorted(folder.glob("*.json")):
                known[path.stem] = _read(path)
        return cls(known)

    def __iter__(self) -> Iterator[str]:
        """Names, in the order of their files."""
        return iter(self._known)

    def named(self, said: str) -> str:
        """The name of the preset that a client means: one of these, or as files have it."""
        return said.strip() if said.strip() in self._known else words.find(self._known, said) or plain(said)

    def under(self, document: object, own: str | None = None) -> object:
        """A request with the parameters of the preset that it names; its own parameters win, block by block.

        Args:
            document: the request.
            own: JSON of the account's own preset of that name, which wins over another of it.

        Raises:
            BadRequestError: there is no such preset, or the account's own is no request.
        """
        name = named(document)
        if not isinstance(document, dict) or name is None:
            return document  # that preset is text is checked with everything else
        preset = _parsed(self.named(name), own) if own is not None else self._known.get(self.named(name))
        if preset is None:
            raise BadRequestError(sentences.UNKNOWN_PRESET.format(preset_name=f"{name.strip():.64}"), code=None)
        said = {key: value for key, value in document.items() if _FILLED_IN.get(key) != value or key not in preset}
        if any(said.get(field) not in (None, "") for field in _SIZE):
            preset = {key: value for key, value in preset.items() if key not in _SIZE}
        return merged(preset, said)


def named(document: object) -> str | None:
    """The preset that a request names; None for none."""
    name = document.get("preset") if isinstance(document, dict) else None
    return name if isinstance(name, str) and name.strip() else None


def plain(name: str) -> str:
    """A name as files have it: "Print/Photo" is print_photo."""
    return re.sub(r"[^a-z0-9]+", "_", name.strip().lower()).strip("_")


def _read(path: Path) -> JsonObject:
    """A preset of a file."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError(f"preset {path}: {error}") from None
    if fault := _fault(path.stem, document):
        raise SettingsError(f"preset {path}: {fault}")
    found: JsonObject = document
    return found


def _parsed(name: str, text: str) -> JsonObject:
    """A preset of an account."""
    document = json.loads(text)
    if fault := _fault(name, document):
        raise BadRequestError(f"preset {name} of this account cannot be used: {fault}; ask its operator")
    found: JsonObject = document
    return found


def _fault(name: str, document: object) -> str | None:
    """What is wrong with it, if anything is."""
    if not _NAME.fullmatch(name):
        return "its name may have up to 64 letters, digits, - and _"
    if not isinstance(document, dict):
        return "it is not a JSON object"
    if there := [name for name in _NOT_IN_PRESETS if name in document]:
        return f"it may not have {there[0]}"
    if unknown := document.keys() - contract.ProcessRequest.model_fields.keys():
        return f"it has {min(unknown)}, which is not a parameter"
    try:
        contract.parse(document)
    except BadRequestError as error:
        return error.body["message"]
    return None


def merged(under: Mapping[str, object], over: Mapping[str, object]) -> JsonObject:
    """Both; where both have an object it is merged, else `over` wins, unless it says nothing."""
    found = dict(under)
    for key, value in over.items():
        below = found.get(key)
        if isinstance(below, dict) and isinstance(value, dict):
            found[key] = merged(below, value)
        elif value not in (None, "", [], {}) or key not in found:
            found[key] = value
    return found
