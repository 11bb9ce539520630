"""See tests/integration/formulas.py."""

from tests.integration.formulas import FaceLandmarks as TritonPythonModel

__all__ = ["TritonPythonModel"]
