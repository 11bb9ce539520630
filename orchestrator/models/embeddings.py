"""What text encoders answered lately, by the digest of what they were given: the same prompt is encoded once.

Rows of a network do not depend on their company (ADR 0023), so that each row is kept by itself, and a prompt's row is
found whatever the negative prompt was. Where they do, the model has a fixed batch, and the whole call is kept.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence

import numpy as np

from orchestrator import metrics
from orchestrator.arrays import Floats
from orchestrator.models.contracts import Ids
from orchestrator.models.inference import Inference
from orchestrator.models.triton import ModelInfo

Kept = tuple[Floats, ...]
"""The outputs of a row, or of a call, each (rows, ...); read-only."""


class Embeddings:
    """Answers of text encoders, those that were used last, up to that many bytes. Lives in one event loop."""

    def __init__(self, capacity: int) -> None:
        """Nothing is kept.

        Args:
            capacity: bytes; 0 for none.
        """
        self.capacity = capacity
        self._kept: OrderedDict[bytes, Kept] = OrderedDict()
        self._bytes = 0

    def find(self, key: bytes) -> Kept | None:
        """What is kept under a key."""
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
        return found

    def keep(self, key: bytes, answer: Sequence[Floats]) -> Kept:
        """Keep an answer, and forget as many others as that takes."""
        kept = tuple(np.array(array) for array in answer)  # a copy: a view would hold the whole message
        for array in kept:
            array.flags.writeable = False
        self._bytes -= _size(self._kept.pop(key, ()))
        self._kept[key] = kept
        self._bytes += _size(kept)
        while self._bytes > self.capacity:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= _size(oldest)
        metrics.EMBEDDING_BYTES.set(self._bytes)
        return kept


class RememberedEncoders:
    """An Inference for text encoders, which asks the engines only for what is not kept."""

    def __init__(self, engines: Inference, embeddings: Embeddings, *, whole: bool) -> None:
        """Over the engines.

        Args:
            engines: that run the models.
            embeddings: what is kept.
            whole: keep whole calls instead of their rows.
        """
        self._engines, self._embeddings, self._whole = engines, embeddings, whole

    async def infer(self, info: ModelInfo, inputs: Mapping[str, Floats | Ids], outputs: Sequence[str]) -> Kept:
        """As Inference.infer."""
        if not self._embeddings.capacity or not info.digest.sha256:  # without a digest it may be another model by now
            return await self._engines.infer(info, inputs, outputs)
        rows = len(next(iter(inputs.values())))
        step = rows if self._whole else 1
        parts = [{name: array[at : at + step] for name, array in inputs.items()} for at in range(0, rows, step)]
        keys = [_key(info, part, outputs) for part in parts]
        found = {key: self._embeddings.find(key) for key in keys}
        missing = [number for number, key in enumerate(keys) if found[key] is None]
        metrics.EMBEDDINGS.labels("hit").inc(step * (len(keys) - len(missing)))
        metrics.EMBEDDINGS.labels("miss").inc(step * len(missing))
        if missing:
            sent = {name: np.concatenate([parts[number][name] for number in missing]) for name in inputs}
            answers = await self._engines.infer(info, sent, outputs)
            for place, number in enumerate(missing):
                rows_of_it = [array[place * step : (place + 1) * step] for array in answers]
                found[keys[number]] = self._embeddings.keep(keys[number], rows_of_it)
        answered = [kept for key in keys if (kept := found[key]) is not None]
        return tuple(np.concatenate(arrays) for arrays in zip(*answered, strict=True))


def _key(info: ModelInfo, inputs: Mapping[str, Floats | Ids], outputs: Sequence[str]) -> bytes:
    """SHA-256 of the network, of what it is given, and of what is asked of it."""
    digest = hashlib.sha256(repr((info.name, info.digest, tuple(outputs))).encode())
    for name in sorted(inputs):
        array = np.ascontiguousarray(inputs[name])
        digest.update(repr((name, array.dtype.str, array.shape)).encode())
        digest.update(array.data)
    return digest.digest()


def _size(kept: Kept) -> int:
    return sum(array.nbytes for array in kept)
