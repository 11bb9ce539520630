"""Proof that data goes into every model of a Triton and comes out: known tensors over gRPC, at start-up.

It exists because of faults that are silent otherwise: under numpy 2 the Python backend hands zeros to every model and
returns nothing, and reports success.

Each model gets two different rows, the first alone and then both as one batch. The answers must have the shape that
the configuration says and be finite, and the first row's must be the same alone and in company. At least one output
must not be constant and must differ between the rows: an output may well be the same for every input. Optional inputs
are left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException, triton_to_np_dtype

from local.errors import ModelsError

_FREE_SIDE = 16  # size of an axis that a model leaves open
_TIMEOUT = 120.0  # seconds for one answer; a large network's first run is slow
_CONSTANT = "it is constant"
_INDEPENDENT = "it does not depend on the input (is numpy 2 in the Python that Triton runs?)"
_IDS = 97  # known whole numbers are below this: a token of every vocabulary

Array = npt.NDArray[np.generic]


@dataclass(frozen=True)
class Tensor:
    """An input or output by the model's configuration: the batch axis first, -1 where an axis is open."""

    name: str
    datatype: str
    shape: tuple[int, ...]


def check(url: str, models: Sequence[str]) -> None:
    """Prove all the models; all faults at once.

    Args:
        url: host:port of Triton's gRPC endpoint.
        models: names of models that are ready.

    Raises:
        ModelsError: for the models that failed.
    """
    reasons: dict[str, str] = {}
    with closing(_Prover(url)) as prover:
        for model in models:
            try:
                fault = prover.find_fault(model)
            except InferenceServerException as error:
                fault = f"a known tensor was not answered: {error.message()}"
            if fault:
                reasons[model] = fault
    if reasons:
        raise ModelsError(reasons)


def make_known(tensor: Tensor, row: int) -> Array:
    """Return a known tensor of one row: no zeros in it, and another for each row number.

    Args:
        tensor: what is wanted; open axes get a fixed size.
        row: 0 or 1.
    """
    shape = [_FREE_SIDE if size < 0 else size for size in tensor.shape[1:]]
    dtype = np.dtype(triton_to_np_dtype(tensor.datatype))
    count = np.arange(int(np.prod(shape)), dtype=np.float64)
    if np.issubdtype(dtype, np.integer):
        values = 1 + (7 * count + 31 * row) % _IDS
    else:
        values = np.sin(0.37 * count + 1 + row) + 1.5
    return values.reshape(1, *shape).astype(dtype)


def judge(shape: Sequence[int], alone: Array | None, together: Array | None) -> str:
    """Return what is wrong with an output; "" if nothing is.

    Args:
        shape: by the configuration, the batch first; -1 where open.
        alone: the answer to the first row.
        together: the answer to both rows.
    """
    fault = ""
    if alone is None or together is None or not alone.size or not together.size:
        fault = "it is empty (is numpy 2 in the Python that Triton runs?)"
    elif len(together) != 2 or any(want not in (-1, got) for want, got in zip(shape, together.shape, strict=True)):
        fault = f"its shape is {list(together.shape)}, the configuration says {list(shape)}"
    elif not np.isfinite(np.asarray(together, np.float64)).all():
        fault = "it is not finite"
    elif together[0].size > 1 and bool((together[0] == together[0].flat[0]).all()):
        fault = _CONSTANT
    elif np.array_equal(together[0], together[1]):
        fault = _INDEPENDENT
    elif not np.array_equal(alone[0], together[0]):
        fault = "a row's answer depends on who shares its batch"
    return fault


def weigh(found: Mapping[str, str]) -> str:
    """Return what is wrong with a model; "" if nothing is.

    Args:
        found: what is wrong with each output, by `judge`.
    """
    blind = all(fault in (_CONSTANT, _INDEPENDENT) for fault in found.values())
    for name, fault in found.items():
        if fault and (blind or fault not in (_CONSTANT, _INDEPENDENT)):
            return f"a known tensor came back wrong in {name}: {fault}"
    return ""


class _Prover:
    """A connection to Triton that sends known tensors."""

    def __init__(self, url: str) -> None:
        self._client = triton.InferenceServerClient(url)

    def close(self) -> None:
        self._client.close()

    def find_fault(self, model: str) -> str:
        """Return what is wrong with a model; "" if nothing is.

        Raises:
            InferenceServerException: Triton, or the model, did not answer.
        """
        metadata = self._client.get_model_metadata(model)
        inputs, outputs = (
            [Tensor(each.name, each.datatype, tuple(each.shape)) for each in tensors]
            for tensors in (metadata.inputs, metadata.outputs)
        )
        config = self._client.get_model_config(model).config
        optional = {each.name for each in config.input if each.optional}
        inputs = [_sized(tensor, config) for tensor in inputs if tensor.name not in optional]
        first, second = ({tensor.name: make_known(tensor, row) for tensor in inputs} for row in (0, 1))
        both = {name: np.concatenate([first[name], second[name]]) for name in first}
        alone = self._infer(model, inputs, outputs, first)
        together = self._infer(model, inputs, outputs, both)
        found = {each.name: judge(each.shape, alone[each.name], together[each.name]) for each in outputs}
        return weigh(found)

    def _infer(
        self, model: str, inputs: Sequence[Tensor], outputs: Sequence[Tensor], arrays: Mapping[str, Array]
    ) -> dict[str, Array | None]:
        tensors = []
        for tensor in inputs:
            array = arrays[tensor.name]
            tensors.append(triton.InferInput(tensor.name, list(array.shape), tensor.datatype))
            tensors[-1].set_data_from_numpy(array)
        answer = self._client.infer(model, tensors, client_timeout=_TIMEOUT)
        return {output.name: _read(answer, output.name) for output in outputs}


def _sized(tensor: Tensor, config: Any) -> Tensor:  # noqa: ANN401  # generated code
    """Return the tensor with the sizes it is warmed up with: open ones of several inputs may hang together."""
    for warmup in config.model_warmup:
        if tensor.name in warmup.inputs:
            return Tensor(tensor.name, tensor.datatype, (-1, *warmup.inputs[tensor.name].dims))
    return tensor


def _read(answer: triton.InferResult, name: str) -> Array | None:
    """Return an output; None where it is not there or its bytes are not."""
    try:
        array: Array | None = answer.as_numpy(name)
    except ValueError:  # a shape without its bytes: what numpy 2 turns every output into
        return None
    return array
