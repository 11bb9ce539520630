"""Pictures on their way in and on their way out."""

import io
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

from imagegen_client.v1 import generation_pb2 as pb

if TYPE_CHECKING:
    from PIL import Image

_ADDRESSES = ("http://", "https://", "storage://")
_SUFFIXES = {"jpeg": (".jpeg", ".jpg"), "png": (".png",), "webp": (".webp",)}


@runtime_checkable
class Savable(Protocol):
    """A picture of Pillow, or anything that saves itself as Pillow does."""

    def save(self, fp: Any, format: str | None = None) -> None:  # noqa: A002, ANN401 - Pillow's own names
        """Write a file."""


Source: TypeAlias = "str | os.PathLike[str] | bytes | Savable"
"""A picture to send: path, bytes of a file, Pillow picture, or an address (http, https, storage)."""


def to_source(picture: Source) -> pb.ImageSource:
    """A picture as the schema has it. Files are read here; addresses are fetched by the server.

    Raises:
        OSError: the file cannot be read.
        TypeError: it is not a picture.
    """
    if isinstance(picture, str) and picture.lower().startswith(_ADDRESSES):
        return pb.ImageSource(url=picture)
    if isinstance(picture, (str, os.PathLike)):
        return pb.ImageSource(data=Path(picture).read_bytes())
    if isinstance(picture, (bytes, bytearray, memoryview)):
        return pb.ImageSource(data=bytes(picture))
    if isinstance(picture, Savable):
        file = io.BytesIO()
        picture.save(file, format="PNG")
        return pb.ImageSource(data=file.getvalue())
    raise TypeError(f"a picture must be a path, an address, bytes or a Pillow picture, not {type(picture).__name__}")


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture that was generated.

    Attributes:
        data: the file.
        format: of the file: png, jpeg or webp.
        width, height: pixels.
        seed: that gives the same picture again.
        family: model family that generated it.
        sampler: that ran, such as "euler"; None where nothing was painted.
        steps: denoising steps that ran.
        job_id: the job that generated it.
        request_id: what the server's log knows the request by.
        seconds: wall time of each stage, by its name.
    """

    data: bytes = field(repr=False)
    format: str
    width: int
    height: int
    seed: int
    family: str
    sampler: str | None
    steps: int
    job_id: str
    request_id: str
    seconds: dict[str, float] = field(repr=False)

    @classmethod
    def of(cls, artifact: pb.Artifact, data: bytes, job_id: str) -> "Picture":
        """The picture of an artifact, whose bytes came in chunks."""
        return cls(
            data=data,
            format=word(pb.ImageFormat.DESCRIPTOR, artifact.format, "IMAGE_FORMAT_"),
            width=artifact.width,
            height=artifact.height,
            seed=artifact.seed,
            family=artifact.family,
            sampler=word(pb.Sampler.DESCRIPTOR, artifact.sampler, "SAMPLER_") if artifact.HasField("sampler") else None,
            steps=artifact.steps,
            job_id=job_id,
            request_id=artifact.request_id,
            seconds={word(pb.Stage.DESCRIPTOR, each.stage, "STAGE_"): each.seconds for each in artifact.timings},
        )

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the file. A path without a suffix gets the format's.

        Raises:
            ValueError: the suffix is another format's.
        """
        target = Path(path)
        suffixes = _SUFFIXES.get(self.format, (f".{self.format}",))
        if not target.suffix:
            target = target.with_suffix(suffixes[-1])
        elif target.suffix.lower() not in suffixes:
            raise ValueError(f"{target}: the picture is {self.format}; give the path the suffix {suffixes[-1]}")
        target.write_bytes(self.data)
        return target

    def pil(self) -> "Image.Image":
        """The picture for Pillow, which must be installed."""
        from PIL import Image  # noqa: PLC0415 - not a dependency

        return Image.open(io.BytesIO(self.data))

    def _repr_mimebundle_(self, **_: object) -> dict[str, bytes]:
        """Notebooks show it."""
        return {f"image/{self.format}": self.data}


def word(enum: Any, number: int, prefix: str) -> str:  # noqa: ANN401 - descriptors have no public type of their own
    """The name of an enum's value without its prefix, in lower case; a value that is newer than this is a number."""
    known = enum.values_by_number.get(number)
    return str(number) if known is None else str(known.name).removeprefix(prefix).lower()
