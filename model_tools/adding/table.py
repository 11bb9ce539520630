"""The tables of a family in families.toml: made of a checkpoint, and put into the file's text, whose comments stay."""

from __future__ import annotations

import json
import os
import re
import tomllib
from typing import TYPE_CHECKING, Any

from model_tools.adding.staging import AddError
from model_tools.export.folders import TEXT_CHUNKS
from model_tools.export.parts import max_clip_skip
from orchestrator.models.families import Families

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from model_tools.checkpoints.checkpoint import Checkpoint
    from model_tools.checkpoints.dit.checkpoint import TransformerCheckpoint
    from model_tools.checkpoints.presets import Preset

HEADER = re.compile(r"\s*\[\s*((?:networks|families|tools)\b[^\],]*?)\s*\]")
"""Of the tables that this file may have; a row of an array looks much like one."""
NOTE = "# Added by `python -m model_tools add"
Table = dict[str, Any]


def networks_table(
    name: str, checkpoint: Checkpoint, roles: Sequence[str], sizes: Sequence[tuple[int, int]], tokens: Table
) -> Table:
    """The keys of [networks.NAME], but for its schedule and preview.

    Args:
        name: of the networks; model folders are called NAME_ROLE.
        checkpoint: as it was exported.
        roles: of its networks.
        sizes: widths and heights at which its UNet runs.
        tokens: of tokens_table.
    """
    table: Table = {role: f"{name}_{role}" for role in roles}
    if "controlled_unet" in roles:
        table["control_kinds"] = list(checkpoint.control_kinds)
    return table | {
        **tokens,
        "text_length": checkpoint.text_config.get("max_position_embeddings", 77),
        "text_chunks": TEXT_CHUNKS,
        "max_clip_skip": max_clip_skip(checkpoint),
        "latent_channels": checkpoint.vae_config["latent_channels"],
        "latent_factor": checkpoint.factor,
        "latent_multiple": checkpoint.multiple,
        "guidance": checkpoint.guidance,
        "scaling_factor": checkpoint.vae_config.get("scaling_factor", 0.18215),
        "shift_factor": checkpoint.vae_config.get("shift_factor") or 0.0,
        "buckets": [list(size) for size in sizes],
    }


def tokens_table(name: str, checkpoint: Checkpoint, pad_ids: Sequence[int]) -> Table:
    """The keys that name tokenizers, in the folder of that name, and the ids that fill up prompts, one for each."""
    table: Table = {"tokenizer": f"{name}/tokenizer.json", "pad_id": pad_ids[0]}
    if checkpoint.has("text_encoder_2"):
        table |= {
            "tokenizer_2": f"{name}/tokenizer_2.json",
            "pad_id_2": pad_ids[1],
            "zero_empty_negative": bool(checkpoint.index.get("force_zeros_for_empty_prompt", True)),
        }
    return table


def transformer_table(
    name: str, checkpoint: TransformerCheckpoint, roles: Sequence[str], sizes: Sequence[tuple[int, int]], tokens: Table
) -> Table:
    """The same of a transformer: its graphs take and give latents as they are denoised."""
    table: Table = {role: f"{name}_{role}" for role in roles}
    return table | {
        **tokens,
        "text_length": sum(text.length for text in checkpoint.texts),
        "pooled": checkpoint.pooled,
        "latent_channels": checkpoint.channels,
        "latent_factor": checkpoint.factor,
        "latent_multiple": checkpoint.patch,
        "patch": checkpoint.patch,
        "scaling_factor": 1.0,
        "guidance": checkpoint.guidance,
        "guidance_norm": checkpoint.guidance_norm,
        "buckets": [list(size) for size in sizes],
    }


def family_table(
    name: str, checkpoint: Checkpoint | TransformerCheckpoint, preset: Preset, side: int, template: str
) -> Table:
    """The keys of [families.NAME]."""
    return {
        "networks": name,
        "license": checkpoint.license,
        "commercial": checkpoint.commercial,
        "prompt_template": template,
        "prompt_weights": checkpoint.architecture in {"sd", "sdxl"},  # language models take none
        "default_width": side,
        "default_height": side,
        "default_sampler": preset.sampler,
        "default_steps": preset.steps,
        "default_guidance_scale": preset.guidance,
    }


def render(name: str, networks: Table, schedule: Table, preview: Table | None, family: Table, note: str) -> str:
    """The tables as TOML, a comment before them."""
    tables = {f"networks.{name}": networks, f"networks.{name}.schedule": schedule}
    if preview:
        tables[f"networks.{name}.preview"] = preview
    tables[f"families.{name}"] = family
    written = "\n\n".join(f"[{key}]\n" + "\n".join(map(_line, table, table.values())) for key, table in tables.items())
    return f"{NOTE} {name}`: {note}\n{written}\n"


def _line(key: str, value: object) -> str:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        rows = (", ".join(f"{name} = {json.dumps(each)}" for name, each in row.items()) for row in value)
        return f"{key} = [\n" + "".join(f"  {{ {row} }},\n" for row in rows) + "]"
    if isinstance(value, list) and value and isinstance(value[0], list):
        return f"{key} = [\n" + "".join(f"  {json.dumps(row)},\n" for row in value) + "]"
    return f"{key} = {json.dumps(value)}"  # of these types JSON is TOML


def with_tables(text: str, name: str, tables: str) -> str:
    """The file's text with the tables at its end, in place of those of that name."""
    kept = without_tables(text, name).rstrip("\n")
    return f"{kept}\n\n{tables}" if kept else tables


def without_tables(text: str, name: str) -> str:
    """The text without the tables of that name; comments before the next table, and all others, stay."""
    mine = re.compile(rf"(networks|families)\.{re.escape(name)}(\..+)?")
    kept: list[str] = []
    waiting: list[str] = []
    inside = False
    for line in text.splitlines(keepends=True):
        header = HEADER.match(line)
        if header:
            was, inside = inside, bool(mine.fullmatch(header[1]))
            kept += waiting if not inside or not was else []
            waiting = []
            if inside and kept and kept[-1].startswith(NOTE):
                kept.pop()
        if not inside:
            kept.append(line)
        elif line.strip().startswith("#") or not line.strip():
            waiting.append(line)
        else:
            waiting = []
    return "".join([*kept, *waiting])


def with_key(text: str, networks: str, key: str, value: list[Table] | Mapping[str, int]) -> str:
    """The file's text with a key of [networks.NAME] set; an empty value takes it out. All else stays as it is.

    Raises:
        AddError: the file is written in a way that this cannot change.
    """
    expected = tomllib.loads(text)
    expected["networks"][networks].pop(key, None)
    lines = [f"{key} = {_inline(value)}\n"] if value else []
    if value:
        expected["networks"][networks][key] = value
    before: list[str] = []
    rest = text.splitlines(keepends=True)
    while rest:
        before.append(rest.pop(0))
        header = HEADER.match(before[-1])
        if header and re.fullmatch(
            rf"""networks\s*\.\s*(?:{re.escape(networks)}|["']{re.escape(networks)}["'])""", header[1]
        ):
            break
    end = next((number for number, line in enumerate(rest) if HEADER.match(line)), len(rest))
    start = next((number for number, line in enumerate(rest[:end]) if re.match(rf"\s*{key}\s*=", line)), None)
    if start is not None:
        length = next((n for n in range(1, end - start + 1) if _is_toml("".join(rest[start : start + n]))), 0)
        del rest[start : start + length]
    changed = "".join([*before, *lines, *rest])
    if not _is_toml(changed) or tomllib.loads(changed) != expected:
        raise AddError(f"families.toml: [networks.{networks}] is written in a way that {key} cannot be set in")
    return changed


def _inline(value: list[Table] | Mapping[str, int]) -> str:
    if not isinstance(value, list):
        return "{ " + ", ".join(f"{json.dumps(name)} = {number}" for name, number in value.items()) + " }"
    rows = ("{ " + ", ".join(f"{name} = {json.dumps(each)}" for name, each in row.items()) + " }" for row in value)
    return "[\n" + "".join(f"  {row},\n" for row in rows) + "]"


def _is_toml(text: str) -> bool:
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return False
    return True


def write_families(path: Path, text: str) -> None:
    """Replace the file, whole, after a look at it by the service's own reader.

    Raises:
        FamilyConfigError: the service would not take it; nothing is changed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        new.write_text(text, "utf-8")
        Families.load(new)
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)
