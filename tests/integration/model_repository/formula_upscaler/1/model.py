"""See tests/integration/formulas.py. Triton's Python runs apart from the repository, so it is given that path."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[5]))

from tests.integration.formulas import Upscaler as TritonPythonModel

__all__ = ["TritonPythonModel"]
