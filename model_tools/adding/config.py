"""config.pbtxt of a model that LoRAs or embeddings are added to: the text that folders.py wrote, changed in place."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from engines.additions import FILES, SCALE
from engines.network import list_files
from model_tools.adding.staging import AddError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_DIGEST = re.compile(r'(key: "graph_sha256" value \{ string_value: ")[0-9a-f]{64}(")')
_SCALE = re.compile(rf'^.*"{SCALE}".*\n', re.MULTILINE)


def with_loras(text: str, count: int) -> str:
    """The configuration with an input of that many scales; 0 for none.

    Raises:
        AddError: it is not as `model_tools add` writes it.
    """
    text = _SCALE.sub("", text)
    if not count:
        return text
    shape = f"data_type: TYPE_FP32 dims: [ {count} ]"
    text = _insert(text, "input [\n", f'  {{ name: "{SCALE}" {shape} }},\n')
    return _insert(text, "  batch_size: 2\n", f'  inputs {{ key: "{SCALE}" value {{ {shape} zero_data: true }} }}\n')


def with_digest(text: str, graph: Path, replaced: Mapping[str, bytes | None]) -> str:
    """The configuration with the digest that the graph's files will have (engines.network.read_digest).

    Args:
        text: of config.pbtxt.
        graph: as find_graph gives it.
        replaced: additions by their file's name, None for one that goes.

    Raises:
        AddError: it has no digest.
    """
    digest = hashlib.sha256()
    for path in (each for each in list_files(graph) if each.name not in FILES):
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    for name in FILES:
        path = graph.with_name(name)
        there = path.read_bytes() if path.is_file() else None
        digest.update(replaced.get(name, there) or b"")
    changed, count = _DIGEST.subn(rf"\g<1>{digest.hexdigest()}\g<2>", text)
    if count != 1:
        raise AddError(f"{graph.parent.parent}/config.pbtxt: has no graph_sha256")
    return changed


def _insert(text: str, place: str, line: str) -> str:
    if text.count(place) != 1:
        raise AddError(f"a config.pbtxt has no line {place.strip()!r}: model_tools did not write it")
    return text.replace(place, place + line)
