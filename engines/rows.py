"""Joining the rows of several requests to one batch, and splitting a batch back: arrays in, arrays out.

Triton's dynamic batcher merges requests only by handing several of them to one `execute`; a Python backend that ran
them one after the other would gain nothing from it. So their rows are joined here to one run of the engine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.generic]
Tensors = dict[str, Array]  # tensor name -> array whose first axis is the batch


class RowsError(ValueError):
    """Rows that cannot share a batch, or an output that does not have the batch's rows."""


def count_rows(tensors: Mapping[str, Array]) -> int:
    """Return the number of rows that all the tensors of one request have.

    Raises:
        RowsError: the tensors disagree about it, or there is no row.
    """
    counts = {name: array.shape[0] if array.ndim else 0 for name, array in tensors.items()}
    rows = set(counts.values())
    if len(rows) != 1 or 0 in rows:
        raise RowsError(f"the tensors of a request need the same number of rows, at least 1; got {counts}")
    return rows.pop()


def join_rows(requests: Sequence[Mapping[str, Array]]) -> Tensors:
    """Return one batch of the rows of all requests, in their order.

    One request alone is handed through without a copy.

    Args:
        requests: for each request its tensors, each [rows, ...]; at least one request.

    Raises:
        RowsError: the shapes behind the batch axis, or the tensors' names, differ between the requests.
    """
    first = requests[0]
    if len(requests) == 1:
        return dict(first)
    for other in requests[1:]:
        if other.keys() != first.keys():
            raise RowsError(f"requests with different tensors: {sorted(first)} and {sorted(other)}")
        for name, array in other.items():
            if array.shape[1:] != first[name].shape[1:]:
                raise RowsError(f"{name}: rows of {first[name].shape[1:]} and of {array.shape[1:]} in one batch")
    return {name: np.concatenate([request[name] for request in requests]) for name in first}


def split_rows(outputs: Mapping[str, Array], counts: Sequence[int]) -> list[Tensors]:
    """Return for each request its rows of the batch's outputs, as views.

    Args:
        outputs: the engine's answer, each tensor [sum of counts, ...].
        counts: the rows of each request, in the order in which they were joined.

    Raises:
        RowsError: an output does not have exactly as many rows as went in.
    """
    total = sum(counts)
    for name, array in outputs.items():
        if array.ndim == 0 or array.shape[0] != total:
            raise RowsError(f"{name}: {total} rows went in, an output of shape {array.shape} came out")
    ends = np.cumsum(counts).tolist()
    return [
        {name: array[end - count : end] for name, array in outputs.items()}
        for end, count in zip(ends, counts, strict=True)
    ]
