"""Collects what is wrong with a request, field by field."""

from orchestrator.errors import InvalidRequestError, Violation


class Violations:
    """Collects what is wrong with a request, so that a client learns all of it at once."""

    def __init__(self) -> None:
        self._found: list[Violation] = []

    def check(self, field_path: str, ok: bool, description: str) -> None:
        """Note a violation of `field_path` unless `ok`."""
        if not ok:
            self._found.append(Violation(field_path, description))

    def within(self, field_path: str, value: float | None, low: float, high: float, unit: str = "") -> None:
        """Note a violation unless `value` is None or a number from low to high."""
        if value is not None and not low <= value <= high:  # NaN is not, either
            self._found.append(Violation(field_path, f"must be from {low:g} to {high:g}{unit}, not {value}"))

    def raise_if_any(self) -> None:
        """Raise InvalidRequestError with everything that was noted."""
        if self._found:
            raise InvalidRequestError(*self._found)
