"""A family that is there already: its tables, and the folders of those of its models that something is added to."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines.additions import AdditionsError
from engines.network import NetworkError, find_graph
from model_tools.adding.names import names_in
from model_tools.adding.staging import AddError
from model_tools.checkpoints.errors import CheckpointError
from orchestrator.errors import FamilyConfigError
from orchestrator.models.families import Families

if TYPE_CHECKING:
    import argparse

    from orchestrator.models.tables import NetworkTable

WRONG = (CheckpointError, AddError, FamilyConfigError, AdditionsError, tomllib.TOMLDecodeError, OSError)
"""What ends a command that adds something to a family with one line."""


def declare_options(parser: argparse.ArgumentParser) -> None:
    """The options of every command that adds a file to a family."""
    parser.add_argument("--license", metavar="ID", help="SPDX or hub id, in place of the model card's")
    parser.add_argument("--allow-non-commercial", action="store_true")
    parser.add_argument("--repository", type=Path, default=Path("model_repository"))
    parser.add_argument("--families", type=Path, default=Path("families/families.toml"))


@dataclass(frozen=True)
class Added:
    """Where a family's networks are.

    Attributes:
        networks: name of their table in families.toml.
        table: as the service reads it.
        raw: as it is written.
        repository: the folder of model folders.
    """

    networks: str
    table: NetworkTable
    raw: dict[str, Any]
    repository: Path

    @classmethod
    def find(cls, families: Path, family: str, repository: Path) -> Added:
        """The family of that name.

        Raises:
            AddError: there is none.
            FamilyConfigError: families.toml cannot be read.
        """
        known = {each.name: each for each in Families.load(families)}
        if family not in known:
            raise AddError(f"{families} has no family {family}; it has {', '.join(known)}")
        tables = names_in(families)
        name = tables["families"][family]["networks"]
        return cls(name, known[family].networks, tables["networks"][name], repository)

    def graphs(self, roles: frozenset[str]) -> dict[str, Path]:
        """Graphs of those of these roles that the family has, by the name of the model; each once.

        Raises:
            AddError: a model folder is missing, or another engine than OpenVINO runs it.
        """
        found = {}
        for role in sorted(self.table.roles.keys() & roles):
            model = self.table.roles[role]
            version = self.repository / model / "1"
            if not (version / "model.py").is_file():
                raise AddError(
                    f"{version}: has no graph that OpenVINO runs; additions to a family need --engine openvino "
                    "(`add --lora` fuses a LoRA for every engine)"
                )
            try:
                found[model] = find_graph(version)
            except NetworkError as error:
                raise AddError(str(error)) from error
        return found
