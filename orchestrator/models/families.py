"""The registry of model families: families.toml, checked and frozen. A new model is a new table there, not new code."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import pydantic
from pydantic import Field

from orchestrator.errors import FamilyConfigError, InvalidRequestError, Violation
from orchestrator.params import MAX_GUIDANCE, MAX_SIDE, MAX_STEPS, MIN_SIDE, SamplerName

Side = Annotated[int, Field(ge=8, le=MAX_SIDE)]
Rgb = tuple[float, float, float]
Table = TypeVar("Table", bound="_Table")


class _Table(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ScheduleTable(_Table):
    """Noise schedule and what the UNet predicts; names and meaning as in diffusers' scheduler_config.json."""

    prediction_type: Literal["epsilon", "v_prediction"]
    beta_start: float = Field(0.00085, gt=0, lt=1)
    beta_end: float = Field(0.012, gt=0, lt=1)
    train_steps: int = Field(1000, ge=100, le=10_000)
    timestep_spacing: Literal["trailing", "leading"] = "trailing"
    steps_offset: int = Field(0, ge=0, le=1)
    set_alpha_to_one: bool = True

    @pydantic.model_validator(mode="after")
    def _betas_grow(self) -> "ScheduleTable":
        if self.beta_start > self.beta_end:
            raise ValueError("beta_start must not exceed beta_end")
        return self


class PreviewTable(_Table):
    """Linear map of latents to RGB in [-1, 1]: one row of factors for each latent channel, and a bias."""

    factors: tuple[Rgb, ...]
    bias: Rgb


class NetworkTable(_Table):
    """A set of networks that belong together, shared by the families that name it.

    Attributes:
        text_encoder, unet, vae_decoder: names of Triton models.
        tokenizer: path of tokenizer.json, relative to families.toml.
        text_length: tokens that the text encoder takes.
        pad_id: token id that fills up.
        latent_channels: channels of the latents.
        latent_factor: pixels for each latent, along a side.
        scaling_factor: the decoder takes latents divided by this, plus shift_factor.
        buckets: width and height, in pixels, of the sizes at which the UNet runs.
        fixed_batch: rows to which each request is padded, for an engine whose results depend on the batch size; the
            models' max_batch_size must be the same, so that Triton merges nothing into it. 0 for no padding.
        preview: linear map of latents to RGB.
    """

    text_encoder: str
    unet: str
    vae_decoder: str
    tokenizer: Path
    text_length: int = Field(ge=3, le=1024)
    pad_id: int = Field(ge=0)
    latent_channels: int = Field(4, ge=1, le=64)
    latent_factor: int = Field(8, ge=1, le=64)
    scaling_factor: float = Field(gt=0)
    shift_factor: float = 0.0
    buckets: tuple[tuple[Side, Side], ...] = Field(min_length=1)
    fixed_batch: int = Field(0, ge=0, le=128)
    schedule: ScheduleTable
    preview: PreviewTable | None = None

    @property
    def model_names(self) -> tuple[str, str, str]:
        """The Triton models that must be ready."""
        return self.text_encoder, self.unet, self.vae_decoder

    @pydantic.model_validator(mode="after")
    def _sizes_agree(self) -> "NetworkTable":
        for width, height in self.buckets:
            if width % self.latent_factor or height % self.latent_factor:
                raise ValueError(f"bucket {width} x {height} is not a multiple of latent_factor {self.latent_factor}")
        if self.preview and len(self.preview.factors) != self.latent_channels:
            raise ValueError("preview.factors needs one row for each latent channel")
        return self


class Family(_Table):
    """A family: networks, and how to use them when a request does not say.

    Attributes:
        name: what requests call it.
        license: of the weights, SPDX where there is one.
        prompt_template: put around the prompt; holds "{prompt}" once.
        default_*: taken where a request leaves the field out.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")
    license: str = Field(min_length=1)
    networks: NetworkTable
    prompt_template: str = "{prompt}, high quality, highly detailed, 8K"
    default_width: int = Field(512, ge=MIN_SIDE, le=MAX_SIDE)
    default_height: int = Field(512, ge=MIN_SIDE, le=MAX_SIDE)
    default_sampler: SamplerName
    default_steps: int = Field(ge=1, le=MAX_STEPS)
    default_guidance_scale: float = Field(ge=0, le=MAX_GUIDANCE)

    @property
    def tasks(self) -> tuple[str, ...]:
        """Tasks that the family's networks can serve."""
        return ("text_to_image",)

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
    """All families, in the order of the file; the first is the default."""

    def __init__(self, families: tuple[Family, ...], folder: Path) -> None:
        self._families = {family.name: family for family in families}
        self.folder = folder

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
        """Read families.toml: tables [networks.NAME] and [families.NAME], a family naming its networks.

        Raises:
            FamilyConfigError: the file is missing or wrong; the message names file, table and field.
        """
        try:
            data = tomllib.loads(path.read_text("utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise FamilyConfigError(f"{path}: {error}") from error
        if unknown := sorted(data.keys() - {"networks", "families"}):
            raise FamilyConfigError(f"{path}: [{unknown[0]}] is not a table of this file")
        networks = {
            name: _checked(path, f"networks.{name}", NetworkTable, table)
            for name, table in _tables(path, data, "networks").items()
        }
        families = tuple(
            _family(path, networks, name, table) for name, table in _tables(path, data, "families").items()
        )
        if not families:
            raise FamilyConfigError(f"{path}: has no [families.NAME] table")
        return cls(families, path.parent)


def _tables(path: Path, data: dict[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    """The tables [kind.NAME] of the file, by name."""
    tables = data.get(kind, {})
    if not isinstance(tables, dict):
        raise FamilyConfigError(f"{path}: {kind} is not a table")
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise FamilyConfigError(f"{path}: {kind}.{name} is not a table")
    return tables


def _family(path: Path, networks: dict[str, NetworkTable], name: str, table: dict[str, Any]) -> Family:
    where, wanted = f"families.{name}", table.get("networks")
    if not isinstance(wanted, str) or wanted not in networks:
        raise FamilyConfigError(f"{path}: [{where}] networks: {wanted!r:.64} is not one of {sorted(networks)}")
    if "name" in table:
        raise FamilyConfigError(f"{path}: [{where}] name: the table's own name is the family's")
    return _checked(path, where, Family, {**table, "name": name, "networks": networks[wanted]})


def _checked(path: Path, where: str, kind: type[Table], table: dict[str, Any]) -> Table:
    """The table, validated; what is wrong is said by file, table and field."""
    try:
        return kind.model_validate(table)
    except pydantic.ValidationError as error:
        wrong = (": ".join(filter(None, (".".join(map(str, e["loc"])), e["msg"]))) for e in error.errors())
        raise FamilyConfigError(f"{path}: [{where}] {'; '.join(wrong)}") from error
