"""Collects what is wrong with a request, field by field."""

from collections.abc import Mapping

from orchestrator.errors import InvalidRequestError, Reason, Violation
from orchestrator.params.storage import StorageUrl, StorageUrlError


class Violations:
    """Collects what is wrong with a request, so that a client learns all of it at once."""

    def __init__(self) -> None:
        self._found: list[Violation] = []

    def check(
        self,
        field_path: str,
        ok: bool,
        description: str,
        reason: Reason = Reason.UNSPECIFIED,
        limits: Mapping[str, float] | None = None,
    ) -> None:
        """Note a violation of `field_path` unless `ok`."""
        if not ok:
            self._found.append(Violation(field_path, description, reason, limits or {}))

    def within(
        self,
        field_path: str,
        value: float | None,
        low: float,
        high: float,
        unit: str = "",
        *,
        above: Reason = Reason.ABOVE_MAXIMUM,
    ) -> None:
        """Note a violation unless `value` is None or a number from low to high; `above` is its reason above high."""
        ok = value is None or low <= value <= high  # NaN is not within, either
        reason = above if value is not None and value > high else Reason.BELOW_MINIMUM
        described = f"must be from {low:g} to {high:g}{unit}, not {value}"
        self.check(field_path, ok, described, reason, {"minimum": low, "maximum": high})

    def check_address(self, field_path: str, url: str, *, or_folder: bool = False) -> None:
        """Note what is wrong with an address in a storage."""
        try:
            StorageUrl.parse(url, or_folder=or_folder)
        except StorageUrlError as error:
            self.check(field_path, ok=False, description=str(error), reason=error.reason)

    def raise_if_any(self) -> None:
        """Raise InvalidRequestError with everything that was noted."""
        if self._found:
            raise InvalidRequestError(*self._found)
