"""Holding networks' answers to their contract."""

from orchestrator.arrays import Floats
from orchestrator.errors import EngineFaultError


def expect(model: str, answer: Floats, expected: tuple[int, ...]) -> None:
    """Hold an answer to its shape: numpy would broadcast a wrong one, and resizing hide it, into some picture.

    Raises:
        EngineFaultError: it has another shape.
    """
    if answer.shape != expected:
        raise EngineFaultError(f"model {model} answered a tensor of shape {answer.shape}, not {expected}")
