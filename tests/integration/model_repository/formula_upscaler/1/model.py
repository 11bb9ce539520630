"""See tests/integration/formulas.py."""

from tests.integration.formulas import Upscaler as TritonPythonModel

__all__ = ["TritonPythonModel"]
