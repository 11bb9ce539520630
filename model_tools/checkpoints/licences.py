"""Licences of checkpoints: read from model cards, refused where they are missing or do not allow commercial use."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from huggingface_hub.repocard import metadata_load
from yaml import YAMLError

from model_tools.checkpoints.errors import CheckpointError
from model_tools.checkpoints.weights import metadata

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

UNNAMED = frozenset({"other", "unknown"})
"""What model cards say where there is no known name."""
NON_COMMERCIAL = re.compile(r"(?:^|[^a-z])(?:nc|non-?commercial|research(?:-only|-license)?|academic)(?:[^a-z]|$)")


@dataclass(frozen=True)
class Licence:
    """A licence by its SPDX or hub id, and whether commercial use is allowed."""

    name: str
    commercial: bool


def is_commercial(name: str) -> bool:
    """Whether a licence's name says nothing against commercial use."""
    return not NON_COMMERCIAL.search(name.lower().replace("_", "-").replace(" ", "-"))


def read_licence(path: Path) -> str | None:
    """The licence of a checkpoint or adapter.

    Args:
        path: a folder with a model card (README.md), or a file of weights, next to one or with metadata of its own.

    Returns:
        An id as the card has it, lower case; None where nothing is said.
    """
    card = (path if path.is_dir() else path.parent) / "README.md"
    named = _front_matter(card) if card.is_file() else {}
    name = str(named.get("license") or "").strip().lower()
    if name in UNNAMED:
        name = str(named.get("license_name") or "").strip().lower()
    if not name and path.is_file():
        name = metadata(path).get("modelspec.license", "").strip()
    return name or None


def settle(checkpoint: Path, given: str | None, adapters: Iterable[Path], *, allow_non_commercial: bool) -> Licence:
    """The licence that the family will have.

    Args:
        checkpoint: whose licence counts.
        given: by the user; counts more than the card.
        adapters: what is added; a licence of theirs is named in addition to the checkpoint's, one that is not said is
            taken as the checkpoint's.
        allow_non_commercial: whether weights that may not be used commercially are taken.

    Raises:
        CheckpointError: nothing says the licence; or it does not allow commercial use, and that is not allowed.
    """
    own = given or read_licence(checkpoint)
    if not own:
        raise CheckpointError(
            f"{checkpoint}: names no licence (README.md has no `license:`); read its terms and name it by --license ID"
        )
    names = list(dict.fromkeys([own, *(name for path in adapters if (name := read_licence(path)))]))
    forbidden = [name for name in names if not is_commercial(name)]
    if forbidden and not allow_non_commercial:
        raise CheckpointError(
            f"{checkpoint}: the licence {forbidden[0]} does not allow commercial use; --allow-non-commercial takes the"
            " weights, and marks the family so"
        )
    return Licence(" AND ".join(names), not forbidden)


def _front_matter(card: Path) -> dict[str, object]:
    try:
        return metadata_load(card) or {}
    except (ValueError, YAMLError):  # no table, or no YAML
        return {}
