"""The registry of model families: families.toml, checked and frozen. A new model is a new table there, not new code."""

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import pydantic
from pydantic import Field

from orchestrator.errors import FamilyConfigError, InvalidRequestError, Violation
from orchestrator.models.tables import NetworkTable, Table, ToolTable
from orchestrator.params import (
    MAX_GENERATED_SIDE,
    MAX_GUIDANCE,
    MAX_SKIP_TOLERANCE,
    MAX_STEPS,
    MIN_SIDE,
    GuidanceMethod,
    SamplerName,
)

Kind = TypeVar("Kind", bound=Table)


NEEDS: Mapping[str, frozenset[str]] = {
    "text_to_image": frozenset({"unet"}),
    "image_to_image": frozenset({"unet", "vae_encoder"}),
    "inpaint": frozenset({"fill", "vae_encoder"}),
    "outpaint": frozenset({"fill", "vae_encoder"}),
    "generate_background": frozenset({"fill", "vae_encoder", "matting"}),
    "face": frozenset({"likeness", "face_detector", "face_landmarks"}),
    "control": frozenset({"control", "vae_encoder"}),
    "upscale": frozenset({"unet", "vae_encoder"}),
    "edit": frozenset(),
    "face_swap": frozenset({"likeness", "vae_encoder", "face_detector", "face_landmarks"}),
}
"""Tasks, and what each needs: abilities of the family's networks (NetworkTable.abilities) and roles of tools."""


class Family(Table):
    """A family: networks, and how to use them when a request does not say.

    Attributes:
        name: what requests call it.
        license: of the weights, SPDX where there is one.
        commercial: whether that licence allows commercial use.
        tools: those of the file, the same for every family.
        prompt_template: put around the prompt; holds "{prompt}" once.
        prompt_weights: whether brackets in prompts are weights where a request does not say (diffusion/emphasis.py).
        default_*: taken where a request leaves the field out.
        upscale_detail: how much detail upscaling paints in, from 0 to 1, a factor of its strength; with 0 nothing is
            painted, and the upscaling network alone enlarges. For families whose networks know too few pictures.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")
    license: str = Field(min_length=1)
    commercial: bool = True
    networks: NetworkTable
    tools: ToolTable = ToolTable()
    prompt_template: str = "{prompt}, high quality, highly detailed, 8K"
    prompt_weights: bool = False
    default_width: int = Field(512, ge=MIN_SIDE, le=MAX_GENERATED_SIDE)
    default_height: int = Field(512, ge=MIN_SIDE, le=MAX_GENERATED_SIDE)
    default_sampler: SamplerName
    default_steps: int = Field(ge=1, le=MAX_STEPS)
    default_guidance_scale: float = Field(ge=0, le=MAX_GUIDANCE)
    upscale_detail: float = Field(1.0, ge=0, le=1)
    default_guidance_start: float = Field(0.0, ge=0, le=1)
    default_guidance_end: float = Field(1.0, ge=0, le=1)
    default_guidance_rescale: float = Field(0.0, ge=0, le=1)
    default_guidance_method: GuidanceMethod = GuidanceMethod.CFG
    default_skip_tolerance: float = Field(0.0, ge=0, le=MAX_SKIP_TOLERANCE)

    @property
    def tasks(self) -> tuple[str, ...]:
        """Tasks that the family's networks, and the tools, can serve: those of NEEDS that have all they need."""
        return tuple(task for task, needed in NEEDS.items() if self.abilities >= needed)

    @property
    def abilities(self) -> frozenset[str]:
        """What NEEDS asks for: of the networks, and roles of the tools."""
        return self.networks.abilities | self.tools.roles.keys()

    @pydantic.model_validator(mode="after")
    def _interval_grows(self) -> "Family":
        if self.default_guidance_start > self.default_guidance_end:
            raise ValueError("default_guidance_start must not exceed default_guidance_end")
        return self

    @pydantic.field_validator("prompt_template")
    @classmethod
    def _one_place(cls, template: str) -> str:
        if template.count("{prompt}") != 1:
            raise ValueError('needs "{prompt}" exactly once')
        return template

    def full_prompt(self, prompt: str) -> str:
        """The prompt in its template. Braces in the prompt are only text."""
        return self.prompt_template.replace("{prompt}", prompt)


class Families:
    """All families, in the order of the file; the first is the default. And the tools next to them."""

    def __init__(self, families: tuple[Family, ...], folder: Path, tools: ToolTable | None = None) -> None:
        self._families = {family.name: family for family in families}
        self.folder = folder
        self.tools = tools or ToolTable()

    def __iter__(self) -> Iterator[Family]:
        return iter(self._families.values())

    def get(self, name: str | None) -> Family:
        """The family of that name; the default for None.

        Raises:
            InvalidRequestError: there is none of that name; the message lists those that there are.
        """
        if name is None:
            return next(iter(self._families.values()))
        if name not in self._families:
            known = ", ".join(self._families)
            raise InvalidRequestError(Violation("family", f"{name[:64]!r} is not a family of this server ({known})"))
        return self._families[name]

    @classmethod
    def load(cls, path: Path) -> "Families":
        """Read families.toml: tables [networks.NAME] and [families.NAME], a family naming its networks; and [tools].

        Raises:
            FamilyConfigError: the file is missing or wrong; the message names file, table and field.
        """
        try:
            data = tomllib.loads(path.read_text("utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise FamilyConfigError(f"{path}: {error}") from error
        if unknown := sorted(data.keys() - {"networks", "families", "tools"}):
            raise FamilyConfigError(f"{path}: [{unknown[0]}] is not a table of this file")
        networks = {
            name: _checked(path, f"networks.{name}", NetworkTable, table)
            for name, table in _tables(path, data, "networks").items()
        }
        if not isinstance(data.get("tools", {}), dict):
            raise FamilyConfigError(f"{path}: tools is not a table")
        tools = _checked(path, "tools", ToolTable, data.get("tools", {}))
        families = tuple(
            _family(path, networks, tools, name, table) for name, table in _tables(path, data, "families").items()
        )
        if not families:
            raise FamilyConfigError(f"{path}: has no [families.NAME] table")
        return cls(families, path.parent, tools)


def _tables(path: Path, data: dict[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    """The tables [kind.NAME] of the file, by name."""
    tables = data.get(kind, {})
    if not isinstance(tables, dict):
        raise FamilyConfigError(f"{path}: {kind} is not a table")
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise FamilyConfigError(f"{path}: {kind}.{name} is not a table")
    return tables


def _family(
    path: Path, networks: dict[str, NetworkTable], tools: ToolTable, name: str, table: dict[str, Any]
) -> Family:
    where, wanted = f"families.{name}", table.get("networks")
    if not isinstance(wanted, str) or wanted not in networks:
        raise FamilyConfigError(f"{path}: [{where}] networks: {wanted!r:.64} is not one of {sorted(networks)}")
    for given, reason in (("name", "the table's own name is the family's"), ("tools", "is a table of its own")):
        if given in table:
            raise FamilyConfigError(f"{path}: [{where}] {given}: {reason}")
    return _checked(path, where, Family, {**table, "name": name, "networks": networks[wanted], "tools": tools})


def _checked(path: Path, where: str, kind: type[Kind], table: dict[str, Any]) -> Kind:
    """The table, validated; what is wrong is said by file, table and field."""
    try:
        return kind.model_validate(table)
    except pydantic.ValidationError as error:
        wrong = (": ".join(filter(None, (_path(e["loc"]), e["msg"]))) for e in error.errors())
        raise FamilyConfigError(f"{path}: [{where}] {'; '.join(wrong)}") from error


def _path(location: tuple[int | str, ...]) -> str:
    """Where a value is, without the tag of a schedule's kind, which pydantic puts after "schedule"."""
    kept = location[:1] + location[2:] if location[:1] == ("schedule",) else location
    return ".".join(map(str, kept))
