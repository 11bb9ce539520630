"""See tests/integration/formulas.py."""

from tests.integration.formulas import FaceDetector as TritonPythonModel

__all__ = ["TritonPythonModel"]
