"""A known tensor for any model, and what its answer must be: only an inference shows that a model infers."""

from collections.abc import Mapping, Sequence

import numpy as np

from orchestrator.arrays import Floats
from orchestrator.models.contracts import Ids
from orchestrator.models.triton import ModelInfo

_FREE_SIDE = 16
"""Size of an axis that the configuration leaves open and no warm-up names."""
_IDS = 97
"""Known whole numbers are below this: a token of every vocabulary."""


def known_tensors(info: ModelInfo) -> dict[str, Floats | Ids]:
    """The inputs of a small request: of the sizes and rows that the model is warmed up with; optional ones left out."""
    rows = next((sizes[0] for sizes in info.warmup.values()), 1)
    return {
        name: _known(rows, info.warmup.get(name, (rows, *info.dims[name]))[1:], whole="INT" in info.types[name])
        for name in info.inputs
        if name not in info.optional
    }


def tensors_of_size(info: ModelInfo, rows: int, height: int, width: int, factor: int) -> dict[str, Floats | Ids]:
    """As known_tensors, of that many rows and a picture of height x width pixels, `factor` of them for each latent."""
    tensors: dict[str, Floats | Ids] = {}
    for name in info.inputs:
        if name not in info.optional:
            scale = 1 if "image" in name else factor
            free = iter((height // scale, width // scale))
            sizes = [size if size > 0 else next(free, _FREE_SIDE) for size in info.dims[name]]
            tensors[name] = _known(rows, sizes, whole="INT" in info.types[name])
    return tensors


def find_fault(info: ModelInfo, rows: int, outputs: Mapping[str, Floats]) -> str:
    """What is wrong with the answer to `rows` known rows; "" if nothing is."""
    for name, array in outputs.items():
        wanted = (rows, *info.dims[name])
        fits = len(wanted) == array.ndim and all(a in (-1, b) for a, b in zip(wanted, array.shape, strict=True))
        if not fits:
            return f"output {name} has shape {list(array.shape)}, not {list(wanted)}"
        if not array.size or not np.isfinite(array).all():
            return f"output {name} is empty or not finite"
    return ""


def _known(rows: int, sizes: Sequence[int], *, whole: bool) -> Floats | Ids:
    shape = [rows, *(_FREE_SIDE if size < 0 else size for size in sizes)]
    count = np.arange(int(np.prod(shape)))
    if whole:
        return np.asarray(1 + 7 * count % _IDS, np.int32).reshape(shape)
    return np.asarray(np.sin(0.37 * count + 1), np.float32).reshape(shape)
