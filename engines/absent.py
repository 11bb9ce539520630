"""Optional inputs: what a request leaves out is zeros, of a shape that the model's configuration gives.

An input that config.pbtxt marks `optional: true` may be missing from a request. Its fixed dims are the configuration's;
where it has free ones, the parameter `absent_NAME` gives each size, the batch left out:

    parameters { key: "absent_control_image" value { string_value: "3, 8*sample[2], 8*sample[3]" } }

A size is a whole number, or `NAME[AXIS]` or `FACTOR*NAME[AXIS]`: the size of a required input on that axis, the batch
being axis 0.

Triton merges only requests that bring the same inputs, of the same shapes (see `engines.openvino_engine`). So that all
can share batches, a request may bring a placeholder: the input with size 1 on each of its free axes counts as left
out. Where config.pbtxt says `allow_ragged_batch: true` of it, Triton compares its shape no more.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from engines.network import NetworkError, TensorSpec
from engines.rows import Array, RowsError, Tensors, join_rows

_PREFIX = "absent_"
_SIZE = re.compile(r"(?P<number>[1-9]\d*)|(?:(?P<factor>[1-9]\d*)\*)?(?P<name>[A-Za-z_]\w*)\[(?P<axis>\d+)\]")


@dataclass(frozen=True)
class Size:
    """A size of one axis: `factor`, times the size of input `name` on `axis` where a name is given."""

    factor: int
    name: str = ""
    axis: int = 0

    def of(self, tensors: Mapping[str, Array]) -> int:
        """Return the size for one request's required inputs."""
        return self.factor * tensors[self.name].shape[self.axis] if self.name else self.factor


class Absent:
    """The optional inputs of one model."""

    def __init__(self, config: Mapping[str, Any], inputs: Mapping[str, TensorSpec]) -> None:
        """Read the shapes of the optional inputs.

        Args:
            config: the model's configuration.
            inputs: the graph's inputs, which the configuration's are known to be.

        Raises:
            NetworkError: a parameter `absent_NAME` is not understood, or missing, or names no optional input; or no
                input is required, so that a request could have no rows.
        """
        optional = {
            each["name"]: [int(size) for size in each["dims"]] for each in config["input"] if _is_optional(each)
        }
        texts = dict(_list_texts(config))
        required = {name: spec for name, spec in inputs.items() if name not in optional}
        if not required:
            raise NetworkError("config.pbtxt marks every input optional: how many rows has a request without any?")
        for name in texts.keys() - optional.keys():
            raise NetworkError(f"parameter {_PREFIX}{name}: config.pbtxt has no optional input {name}")
        self._sizes = {name: _parse(name, dims, texts.get(name), required) for name, dims in optional.items()}
        self._dtypes = {name: inputs[name].dtype for name in optional}
        # One block of zeros for each element type, as large as was ever needed: every answer is a view of it, so the
        # sizes that a model sees do not add up. Its untouched pages take no memory of their own.
        self._zeros: dict[np.dtype[np.generic], Array] = {}

    @property
    def names(self) -> Collection[str]:
        """The optional inputs."""
        return self._sizes.keys()

    def settle(self, tensors: Tensors) -> Tensors:
        """Return a request's tensors without its placeholders, the other optional inputs checked.

        Unchecked, a wrong shape would fail all that share the batch.

        Raises:
            RowsError: an optional input has not the shape that its zeros would have.
        """
        settled = dict(tensors)
        for name in self._sizes.keys() & tensors.keys():
            wanted, placeholder = self._shape(name, tensors), self._placeholder(name)
            if tensors[name].shape == wanted:
                continue
            if tensors[name].shape[1:] != placeholder:
                raise RowsError(f"input {name}: shape {wanted} wanted, {tensors[name].shape} given")
            del settled[name]
        return settled

    def join(self, requests: Sequence[Tensors]) -> Tensors:
        """Return one batch of all requests' rows, zeros where a request lacks an optional input.

        What no request brings is not copied together: it is a view of the block of zeros.

        Raises:
            RowsError: the requests do not go together.
        """
        brought = set().union(*requests)
        return self._fill(join_rows([self._fill(tensors, brought) for tensors in requests]), self.names)

    def _fill(self, tensors: Tensors, names: Collection[str]) -> Tensors:
        """Return the tensors and, of `names`, the optional ones that are missing."""
        missing = [name for name in self._sizes if name in names and name not in tensors]
        return tensors | {name: self._take(self._dtypes[name], self._shape(name, tensors)) for name in missing}

    def _placeholder(self, name: str) -> tuple[int, ...]:
        return tuple(1 if size.name else size.factor for size in self._sizes[name])

    def _shape(self, name: str, tensors: Mapping[str, Array]) -> tuple[int, ...]:
        rows = next(array for key, array in tensors.items() if key not in self._sizes).shape[0]
        return (rows, *(size.of(tensors) for size in self._sizes[name]))

    def _take(self, dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> Array:
        """Return zeros, to be read only."""
        count = int(np.prod(shape))
        block = self._zeros.get(dtype)
        if block is None or block.size < count:
            block = self._zeros[dtype] = np.zeros(count, dtype)
        return block[:count].reshape(shape)


def _is_optional(tensor: Mapping[str, Any]) -> bool:
    return bool(tensor.get("optional", False))


def _list_texts(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in config.get("parameters", {}).items():
        if key.startswith(_PREFIX):
            yield key.removeprefix(_PREFIX), str(value.get("string_value", ""))


def _parse(name: str, dims: Sequence[int], text: str | None, required: Mapping[str, TensorSpec]) -> tuple[Size, ...]:
    """Return the sizes of one optional input.

    Args:
        name: of the input.
        dims: by the configuration, -1 where free.
        text: of its parameter; None where it has none.
        required: the inputs whose sizes may be named.

    Raises:
        NetworkError: the text is not understood or does not fit the dims.
    """
    if text is None:
        if min(dims) < 0:
            raise NetworkError(
                f"optional input {name} has free dims {list(dims)}: parameter {_PREFIX}{name} is missing"
            )
        return tuple(Size(size) for size in dims)
    sizes = tuple(_parse_size(name, part.strip(), required) for part in text.split(","))
    if len(sizes) != len(dims) or any(dim >= 0 and size != Size(dim) for dim, size in zip(dims, sizes, strict=True)):
        raise NetworkError(f"parameter {_PREFIX}{name}: {text!r} does not fit the dims {list(dims)}")
    return sizes


def _parse_size(name: str, text: str, required: Mapping[str, TensorSpec]) -> Size:
    match = _SIZE.fullmatch(text)
    if match is None:
        raise NetworkError(f"parameter {_PREFIX}{name}: {text!r} is neither a number nor FACTOR*INPUT[AXIS]")
    if match["number"]:
        return Size(int(match["number"]))
    source, axis = match["name"], int(match["axis"])
    if source not in required or not 1 <= axis < required[source].rank:
        raise NetworkError(f"parameter {_PREFIX}{name}: {text!r} names no required input, or no axis of it from 1 up")
    return Size(int(match["factor"] or 1), source, axis)
