"""A family's networks, by the contract of orchestrator/models/contracts.py, over graphs opened in this process.

The pipeline then runs without Triton: to record what networks are given (calibration.py), and to compare precisions.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov

from engines.network import Network, Precision
from engines.rows import Tensors
from orchestrator.arrays import Floats
from orchestrator.models.contracts import AddedRows, ControlRows, Ids, ImageRows

PIXELS_OF_A_LATENT = 8


class InProcess:
    """One graph, run as Triton's Python backend runs it; its methods are the networks that it may be."""

    def __init__(self, graph: Path, precision: Precision = "f32", record: list[Tensors] | None = None) -> None:
        """Open the graph.

        Args:
            graph: of a version folder.
            precision: what to compute in.
            record: is given the inputs of every run.

        Raises:
            NetworkError: OpenVINO cannot open it.
        """
        self._network, self._record = Network(graph, precision), record
        ports = ov.Core().read_model(str(graph)).inputs
        self.sizes = {port.any_name: [_size(size) for size in port.partial_shape][1:] for port in ports}
        """Of each input, the sizes behind the batch, -1 where free."""

    async def text(self, input_ids: Ids, skip: int = 0) -> Floats:
        """See contracts.TextEncoder."""
        return _hidden(self._run({"input_ids": input_ids}), skip)

    async def pooled_text(self, input_ids: Ids, skip: int = 0) -> tuple[Floats, Floats]:
        """See contracts.PooledTextEncoder."""
        answers = self._run({"input_ids": input_ids})
        return _hidden(answers, skip), answers["text_embeds"]

    async def unet(
        self, sample: Floats, timestep: Floats, encoder_hidden_states: Floats, added: AddedRows | None = None
    ) -> Floats:
        """See contracts.Unet."""
        return await self.controlled_unet(sample, timestep, encoder_hidden_states, None, None, added)

    async def controlled_unet(
        self,
        sample: Floats,
        timestep: Floats,
        encoder_hidden_states: Floats,
        control: ControlRows | None,
        image: ImageRows | None,
        added: AddedRows | None = None,
    ) -> Floats:
        """See contracts.ControlledUnet."""
        given = {"sample": sample, "timestep": timestep, "encoder_hidden_states": encoder_hidden_states}
        if added is not None:
            given |= added.tensors
        if control is not None:
            given |= {"control_image": control.image, "control_scale": control.scale}
        if image is not None:
            given |= {"image_embeds": image.embeds, "image_scale": image.scale}
        for name in self.sizes.keys() - given.keys():
            free = iter(PIXELS_OF_A_LATENT * side for side in sample.shape[2:])
            sizes = [size if size > 0 else next(free) for size in self.sizes[name]]
            given[name] = np.zeros((len(sample), *sizes), np.float32)
        return self._run(given)["out_sample"]

    async def decode(self, latents: Floats) -> Floats:
        """See contracts.VaeDecoder."""
        return self._run({"latents": latents})["image"]

    def _run(self, tensors: dict[str, Any]) -> dict[str, Any]:
        given = {name: np.ascontiguousarray(array) for name, array in tensors.items() if name in self.sizes}
        if self._record is not None:
            self._record.append({name: array.copy() for name, array in given.items()})
        return {name: array.copy() for name, array in self._network.run(given).items()}


def _hidden(answers: dict[str, Any], skip: int) -> Floats:
    hidden: Floats = answers["skipped_states"][:, skip - 1] if skip else answers["hidden_states"]
    return hidden


def _size(size: ov.Dimension) -> int:
    return size.get_length() if size.is_static else -1
