"""How the operator has pictures marked, and the one place where marks go into a file."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from orchestrator.config import Settings
from orchestrator.imaging.codec import Encoded
from orchestrator.models.source import ModelDigest
from orchestrator.params import ImageFormat, OutputParams
from orchestrator.provenance import signing, xmp
from orchestrator.provenance.origin import Origin, combined
from orchestrator.provenance.signing import Claim, Signer


@dataclass(frozen=True, slots=True)
class Parent:
    """What a client's file states about its own origin.

    Attributes:
        origin: generated or composite; None if it states neither.
        file: its bytes, if it has a manifest that a new one can refer to; else None.
    """

    origin: Origin | None = None
    file: bytes | None = None


def inspect(data: bytes) -> Parent:
    """Read a client's file; takes milliseconds where it has a manifest, so call it in a thread."""
    signed = signing.read(data)
    origin = xmp.read(data).origin or (None if signed is None else signed.origin)
    return Parent(origin, None if signed is None else data)


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What is known of a picture when its file is written.

    Attributes:
        origin: what this request does.
        recipe: prompt and settings for the file; None to leave them out.
        family: that generated it; None where nothing was generated.
        seed: of its noise.
        models: networks that took part.
        parents: of the client's pictures, the one that the task starts from first.
    """

    origin: Origin
    recipe: str | None
    family: str | None
    seed: int
    models: tuple[ModelDigest, ...]
    parents: tuple[Parent, ...] = ()

    @property
    def result_origin(self) -> Origin:
        """Origin of the result, with what the client's pictures state."""
        stated: Iterable[Origin | None] = (parent.origin for parent in self.parents)
        return combined(self.origin, *stated, adds_source=len(self.parents) > 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Marking:
    """The operator's choice.

    Attributes:
        version: of this software.
        xmp: whether files state their origin in XMP.
        signer: of C2PA manifests; None for none.
        invisible: bits of the invisible mark, 0 to 2^32 - 1; None for none.
    """

    version: str
    xmp: bool = True
    signer: Signer | None = None
    invisible: int | None = None

    @classmethod
    def from_settings(cls, settings: Settings, version: str) -> "Marking":
        """Read certificate and key.

        Raises:
            SettingsError: they cannot be used.
        """
        signer = Signer.load(settings)
        invisible = None if settings.invisible_mark is None else int(settings.invisible_mark, 16)
        return cls(version=version, xmp=settings.mark_pictures, signer=signer, invisible=invisible)

    def write(self, encode: Callable[[OutputParams], Encoded], output: OutputParams, work: Work) -> Encoded:
        """The picture's file with its marks: the XMP packet, then, last of all, the manifest.

        Args:
            encode: writes the file without marks.
            output: what the client asked for; its max_file_size holds for the file with marks.
            work: what is known of the picture.

        Raises:
            PreconditionError: no quality fits output.max_file_size.
        """
        origin = work.result_origin
        packet = xmp.packet(origin if self.xmp else Origin.EDITED, self.version, work.recipe)
        reserved = 0 if packet is None else xmp.overhead(output.format, packet)
        encoded = self._mark(encode(_smaller(output, reserved)), output, packet, work, origin)
        if output.max_file_size is None or len(encoded.data) <= output.max_file_size:
            return encoded
        # The manifest's size is known only once it is signed, and changes by a few bytes at most.
        reserved += len(encoded.data) - output.max_file_size + 256
        return self._mark(encode(_smaller(output, reserved)), output, packet, work, origin)

    def mark_preview(self, jpeg: bytes, origin: Origin) -> bytes:
        """A preview's JPEG with its origin. It is not signed: it is replaced in a moment."""
        packet = xmp.packet(origin, self.version) if self.xmp else None
        return jpeg if packet is None else xmp.with_packet(jpeg, ImageFormat.JPEG, packet)

    def _mark(
        self, encoded: Encoded, output: OutputParams, packet: bytes | None, work: Work, origin: Origin
    ) -> Encoded:
        data = encoded.data
        if packet is not None:
            data = xmp.with_packet(data, output.format, packet)
        parent = next((each.file for each in work.parents[:1]), None)
        if self.signer is not None and (origin is not Origin.EDITED or parent is not None):
            claim = Claim(
                origin=origin,
                version=self.version,
                family=work.family,
                seed=work.seed,
                models=work.models,
                parent=parent,
            )
            data = self.signer.sign(data, output.format, claim)
        return replace(encoded, data=data)


def _smaller(output: OutputParams, reserved: int) -> OutputParams:
    """The output with `reserved` bytes less for the file."""
    if output.max_file_size is None or not reserved:
        return output
    return replace(output, max_file_size=max(0, output.max_file_size - reserved))
