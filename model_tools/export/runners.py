"""Engines that run an exported graph, to verify it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnxruntime

from engines.network import Network

if TYPE_CHECKING:
    from pathlib import Path

    from engines.network import Precision
    from model_tools.export.verify import Array, Case, Runner


def open_with_openvino(path: Path, precision: Precision) -> Runner:
    """As Triton's Python backend will run it.

    Raises:
        NetworkError: OpenVINO cannot open it.
    """
    network = Network(path, precision)

    def run(case: Case) -> list[Array]:
        answers = network.run({name: tensor.contiguous().numpy() for name, tensor in case.items()})
        return [answers[name].astype(np.float32) for name in network.outputs]

    return run


def open_with_onnxruntime(path: Path) -> Runner:
    """On the CPU; types that it has no kernels for are computed as float32."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def run(case: Case) -> list[Array]:
        return list(session.run(None, {name: tensor.numpy() for name, tensor in case.items()}))

    return run
