"""See tests/integration/formulas.py."""

from tests.integration.formulas import Matting as TritonPythonModel

__all__ = ["TritonPythonModel"]
