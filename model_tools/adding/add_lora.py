"""`python -m model_tools add-lora FAMILY NAME FILE`: a LoRA that requests may name, or nothing is changed.

Every LoRA of a family is in its graphs, as a second path around the layers, with a scale for each row
(engines/additions.py): one file, loras.npz, next to each graph. Graphs themselves stay as they are.
"""

from __future__ import annotations

import argparse
import io
import math
import re
import sys
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import openvino as ov

from engines import additions
from model_tools.adding import config, table
from model_tools.adding.exchange import exchange
from model_tools.adding.family import WRONG, Added, declare_options
from model_tools.adding.staging import AddError
from model_tools.checkpoints.errors import CheckpointError
from model_tools.checkpoints.licences import settle
from model_tools.checkpoints.lora import Halves, Lora, LoraLayers
from orchestrator.models.specs import TEXT_ENCODERS, UNETS
from orchestrator.models.tables import MAX_LORAS, LoraTable
from orchestrator.params import MAX_LORA_WEIGHT

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_RANKS = 512
"""Of all LoRAs of a family at one layer: each rank costs every request (docs/models.md, LoRAs by request)."""
PARTS: Mapping[str, str] = MappingProxyType({**dict.fromkeys(UNETS, "unet"), **{role: role for role in TEXT_ENCODERS}})
"""Of a role, what LoRA files call it."""
_ENCODER_LAYER = re.compile(r"encoder_layers_(\d+)_")
Arrays = dict[str, Any]


def main(words: list[str]) -> int:
    """Add a LoRA to a family, or remove one.

    Returns:
        0; 1 after an error, with one line that says it and nothing changed.
    """
    given = _parse(words)
    try:
        added = Added.find(given.families, given.family, given.repository)
        files = _removal(added, given) if given.remove else _addition(added, given)
        exchange(files)
    except WRONG as error:
        print(f"add-lora: {str(error).strip() or type(error).__name__}", file=sys.stderr)
        return 1
    print(f"{given.family}: {given.name} {'removed' if given.remove else 'added'}; restart the service to use it")
    return 0


def _parse(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m model_tools add-lora",
        description="Give a LoRA to a family that OpenVINO runs: requests may then name it, with a weight.",
    )
    parser.add_argument("family", help="one of families.toml; all families of the same networks get the LoRA")
    parser.add_argument("name", help="what requests call it: lower-case letters, digits, - and _")
    parser.add_argument(
        "file", nargs="?", type=Path, help="a .safetensors file, of kohya's, diffusers' or peft's names"
    )
    parser.add_argument("--weight", type=float, default=1.0, help="where a request names none (1)")
    parser.add_argument("--replace", action="store_true", help="a LoRA of that name")
    parser.add_argument("--remove", action="store_true", help="take the LoRA of that name out of the family")
    declare_options(parser)
    given = parser.parse_args(words)
    if given.remove == (given.file is not None):
        parser.error("name a FILE to add, or --remove")
    if not math.isfinite(given.weight) or abs(given.weight) > MAX_LORA_WEIGHT:
        parser.error(f"--weight must be from -{MAX_LORA_WEIGHT:g} to {MAX_LORA_WEIGHT:g}")
    return given


def _addition(added: Added, given: argparse.Namespace) -> dict[Path, bytes | None]:
    """What changes when the LoRA is added.

    Raises:
        CheckpointError, AddError: it does not fit; the message says why.
    """
    names = [lora.name for lora in added.table.loras]
    if given.name in names and not given.replace:
        raise AddError(f"{given.family} has a LoRA {given.name} already; --replace replaces it")
    if given.name not in names and len(names) == MAX_LORAS:
        raise AddError(f"{given.family} has {MAX_LORAS} LoRAs, and takes no more; --remove one")
    licence = settle(given.file, given.license, (), allow_non_commercial=given.allow_non_commercial)
    entry = {"name": given.name, "license": licence.name, "commercial": licence.commercial, "weight": given.weight}
    try:
        LoraTable(**entry)
    except ValueError as error:
        raise AddError(f"{given.name!r}: a name has lower-case letters, digits, - and _, at most 63") from error
    slot = names.index(given.name) if given.name in names else len(names)
    entries = [lora.model_dump() for lora in added.table.loras]
    entries[slot : slot + 1] = [entry]
    layers = _layers(added)
    parts = _read(given.file, layers, xl=added.table.text_encoder_2 is not None)
    stored = {model: _without(_stored(graph), slot) for model, graph in _graphs(added).items()}
    for role, model in added.table.roles.items():
        if role in PARTS and PARTS[role] in parts:
            stored[model] = _with(
                stored[model], layers[model], parts[PARTS[role]], slot, f"{given.file}: {PARTS[role]}"
            )
    return _files(added, given.families, stored, entries)


def _removal(added: Added, given: argparse.Namespace) -> dict[Path, bytes | None]:
    names = [lora.name for lora in added.table.loras]
    if given.name not in names:
        raise AddError(f"{given.family} has no LoRA {given.name}; it has {', '.join(names) or 'none'}")
    slot = names.index(given.name)
    stored = {model: _without(_stored(graph), slot, close=True) for model, graph in _graphs(added).items()}
    entries = [lora.model_dump() for lora in added.table.loras if lora.name != given.name]
    return _files(added, given.families, stored, entries)


def _graphs(added: Added) -> dict[str, Path]:
    return added.graphs(UNETS | TEXT_ENCODERS)


def _layers(added: Added) -> dict[str, dict[str, tuple[str, tuple[int, ...]]]]:
    """Of each model: layers by their name in LoRA files, with path and shape of weights."""
    found: dict[str, dict[str, tuple[str, tuple[int, ...]]]] = {}
    core = ov.Core()
    for model, graph in _graphs(added).items():
        here = found[model] = {}
        for path, node in additions.find_layers(core.read_model(str(graph))).items():
            parts = path.split(".")
            start = next((at for at in (0, 1) if parts[at : at + 1] in (["unet"], ["encoder"])), None)
            if start is not None:  # control networks in the same graph have other names
                name = "_".join(parts[start + 1 :]).removeprefix("text_model_")
                here[name] = path, additions.layer_shape(node)
    return found


def _read(file: Path, layers: Mapping[str, Mapping[str, object]], *, xl: bool) -> dict[str, dict[str, Halves]]:
    """The LoRA's layers, by part. Original names of SDXL's blocks are mapped by the number of layers in a block."""
    blocks = {
        name.split("_resnets_")[1][0] for each in layers.values() for name in each if "down_blocks_0_resnets_" in name
    }
    return LoraLayers(Lora(file), {"layers_per_block": max(len(blocks), 1)}, xl=xl).parts


def _stored(graph: Path) -> Arrays:
    path = graph.with_name(additions.LORAS)
    return dict(np.load(path, allow_pickle=False)) if path.is_file() else {}


def _without(arrays: Arrays, slot: int, *, close: bool = False) -> Arrays:
    """The stored LoRAs without one; `close`: those after it move up."""
    kept: Arrays = {}
    for layer in (key.removesuffix("|slots") for key in arrays if key.endswith("|slots")):
        slots = arrays[f"{layer}|slots"]
        stays = slots != slot
        if stays.any():
            kept[f"{layer}|down"] = arrays[f"{layer}|down"][stays]
            kept[f"{layer}|up"] = arrays[f"{layer}|up"][:, stays]
            kept[f"{layer}|slots"] = slots[stays] - (close & (slots[stays] > slot))
    return kept


def _with(
    arrays: Arrays,
    layers: Mapping[str, tuple[str, tuple[int, ...]]],
    added: Mapping[str, Halves],
    slot: int,
    where: str,
) -> Arrays:
    """The stored LoRAs and one more.

    Raises:
        CheckpointError: it has a layer that the model has not, or of another shape; or ranks are too many.
    """
    both = dict(arrays)
    # SDXL reads the hidden states before the first text encoder's last layer, which its graph therefore has not.
    unread = 1 + max((int(found[1]) for name in layers if (found := _ENCODER_LAYER.match(name))), default=-2)
    for name, halves in added.items():
        plain = name.removeprefix("text_model_")
        known = layers.get(plain)
        if known is None:
            if (found := _ENCODER_LAYER.match(plain)) and int(found[1]) == unread:
                continue
            raise CheckpointError(f"{where}: this family has no layer {name}")
        path, shape = known
        down, up = halves.down.float().numpy(), halves.up.float().flatten(1).numpy()
        down = down.reshape(len(down), *shape[1:]) if down.size == len(down) * math.prod(shape[1:]) else down
        if down.shape[1:] != shape[1:] or up.shape != (shape[0], len(down)):
            shapes = f"{list(halves.down.shape)} and {list(halves.up.shape)}"
            raise CheckpointError(f"{where} {name} has the shapes {shapes}, which do not fit a weight of {list(shape)}")
        stored = [both.get(f"{path}|{part}") for part in ("down", "up", "slots")]
        new = down.astype(np.float32), up.astype(np.float32), np.full(len(down), slot, np.int64)
        joined = [
            fresh if old is None else np.concatenate([old, fresh], axis=1 if part == "up" else 0)
            for part, old, fresh in zip(("down", "up", "slots"), stored, new, strict=True)
        ]
        both |= {f"{path}|{part}": array for part, array in zip(("down", "up", "slots"), joined, strict=True)}
        if len(both[f"{path}|slots"]) > MAX_RANKS:
            raise CheckpointError(
                f"{where}: the family's LoRAs would have more than {MAX_RANKS} ranks at {name}; --remove one"
            )
    return both


def _files(
    added: Added, families: Path, stored: Mapping[str, Arrays], entries: list[dict[str, Any]]
) -> dict[Path, bytes | None]:
    """All files that change: LoRAs and configurations of each model, families.toml last."""
    files: dict[Path, bytes | None] = {}
    for model, graph in _graphs(added).items():
        data = None
        if stored[model]:
            file = io.BytesIO()
            np.savez(file, count=np.int64(len(entries)), **stored[model])
            data = file.getvalue()
        files[graph.with_name(additions.LORAS)] = data
        settings = added.repository / model / "config.pbtxt"
        text = config.with_loras(settings.read_text("utf-8"), len(entries) if stored[model] else 0)
        files[settings] = config.with_digest(text, graph, {additions.LORAS: data}).encode()
    files[families] = table.with_key(families.read_text("utf-8"), added.networks, "loras", entries).encode()
    return files


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
