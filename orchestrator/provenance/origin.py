"""Where a picture comes from, in the terms of IPTC's vocabulary of digital source types."""

from enum import StrEnum

_VOCABULARY = "http://cv.iptc.org/newscodes/digitalsourcetype/"


class Origin(StrEnum):
    """How a picture came to be.

    The values are codes of IPTC's NewsCodes "Digital Source Type" (https://cv.iptc.org/newscodes/digitalsourcetype/),
    but for EDITED: a plain edit adds nothing that a network invented, so it carries no mark.
    """

    GENERATED = "trainedAlgorithmicMedia"
    COMPOSITE = "compositeWithTrainedAlgorithmicMedia"
    EDITED = "edited"

    @property
    def digital_source_type(self) -> str | None:
        """URI of the digital source type; None for EDITED."""
        return None if self is Origin.EDITED else _VOCABULARY + self.value

    @classmethod
    def of_source_type(cls, uri: str) -> "Origin | None":
        """The origin that a digital source type means; None for every other type (cameras, scans, ...)."""
        code = uri.rsplit("/", 1)[-1]
        return cls(code) if code in {cls.GENERATED.value, cls.COMPOSITE.value} else None


def combined(own: Origin, *parents: Origin | None, adds_source: bool = False) -> Origin:
    """Origin of a result: its own, unless it is a plain edit of pictures that are marked already.

    Cropping a generated picture leaves a generated picture; laying a generated picture and another over each other
    gives a composite.

    Args:
        own: what this request does.
        parents: origins that the client's pictures state, in the order of importance; None where one states none.
        adds_source: whether the edit lays another picture of the client's over or under the first.
    """
    if own is not Origin.EDITED:
        return own
    marked = [parent for parent in parents if parent in {Origin.GENERATED, Origin.COMPOSITE}]
    if not marked:
        return own
    return Origin.GENERATED if marked[0] is Origin.GENERATED and not adds_source else Origin.COMPOSITE
