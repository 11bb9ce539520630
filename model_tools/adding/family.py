"""A family that is there already: its tables, and the folders of those of its models that something is added to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from engines.network import NetworkError, find_graph
from model_tools.adding.staging import AddError
from model_tools.adding.table import names_in
from orchestrator.models.families import Families

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.models.tables import NetworkTable


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
