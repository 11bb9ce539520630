"""Opens the graph next to it, in Triton's Python backend."""

from engines.openvino_engine import TritonPythonModel

__all__ = ["TritonPythonModel"]
