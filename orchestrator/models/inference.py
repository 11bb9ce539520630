"""What runs models, as the networks see it."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from orchestrator.arrays import Floats
from orchestrator.models.contracts import Ids
from orchestrator.models.triton import ModelInfo


class Inference(Protocol):
    """What runs models: one Triton (triton.py), all of them, or one request's way through them (pool.py)."""

    async def infer(
        self, info: ModelInfo, inputs: Mapping[str, Floats | Ids], outputs: Sequence[str]
    ) -> tuple[Floats, ...]:
        """Run one batch; the answer has the outputs that were asked for, in that order.

        Raises:
            EngineUnavailableError: nothing that runs the model answers.
            EngineFaultError: the model refused the tensors or failed.
        """
        ...


class Engines(Inference, Protocol):
    """What knows its models, too."""

    async def describe(self, model: str) -> ModelInfo:
        """What a model is; EngineUnavailableError where it does not answer."""
        ...
