"""What the networks of no family take and give, as contracts.py has it of the families' networks."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, overload

from orchestrator.arrays import Floats
from orchestrator.errors import EngineUnavailableError, UnsupportedTaskError
from orchestrator.models.contracts import RETRY_AFTER_SECONDS, OneSize


class Matting(OneSize, Protocol):
    """How much of each pixel belongs to the main object."""

    async def __call__(self, image: Floats) -> Floats:
        """(B, 3, S, S) RGB in [-1, 1] to (B, 1, S, S) in [0, 1]."""
        ...


class FaceDetector(Protocol):
    """Faces, as MediaPipe's back camera model gives them."""

    async def __call__(self, image: Floats) -> tuple[Floats, Floats]:
        """(B, 3, 256, 256) RGB in [-1, 1] to boxes (B, 896, 16) and their scores (B, 896, 1), logits."""
        ...


class FaceLandmarks(Protocol):
    """Points of one face, as MediaPipe's face mesh gives them."""

    async def __call__(self, image: Floats) -> tuple[Floats, Floats]:
        """(B, 3, 192, 192) RGB in [-1, 1] to (B, 468, 3), pixels of that crop, and a score (B, 1), a logit."""
        ...


class Upscaler(Protocol):
    """A larger picture, without diffusion."""

    @property
    def scale(self) -> int:
        """Pixels of the answer for each pixel, along a side."""
        ...

    async def __call__(self, image: Floats) -> Floats:
        """(B, 3, h, w) RGB in [-1, 1] to (B, 3, scale·h, scale·w), as well."""
        ...


class Classifier(OneSize, Protocol):
    """How likely a picture shows pornography, as open_nsfw has it."""

    async def __call__(self, image: Floats) -> Floats:
        """(B, 3, S, S) RGB in [-1, 1] to probabilities (B, 1)."""
        ...


class WatermarkEncoder(OneSize, Protocol):
    """Writes an invisible mark."""

    async def __call__(self, image: Floats, bits: Floats) -> Floats:
        """(B, 3, S, S) RGB in [-1, 1], and (B, 32) of 0 and 1, to the marked picture (B, 3, S, S)."""
        ...


class WatermarkDecoder(OneSize, Protocol):
    """Reads an invisible mark."""

    async def __call__(self, image: Floats) -> Floats:
        """(B, 3, S, S) RGB in [-1, 1] to (B, 32) in [0, 1]; a bit is set above 0.52."""
        ...


@dataclass(frozen=True, slots=True)
class Tools:
    """Networks that belong to no family; None where families.toml names none, or while it is not ready.

    Attributes:
        waiting: roles that are named and not ready.
    """

    matting: Matting | None = None
    face_detector: FaceDetector | None = None
    face_landmarks: FaceLandmarks | None = None
    upscaler: Upscaler | None = None
    nsfw: Classifier | None = None
    watermark_encoder: WatermarkEncoder | None = None
    watermark_decoder: WatermarkDecoder | None = None
    waiting: frozenset[str] = frozenset()

    def check(self, roles: frozenset[str]) -> None:
        """Raise EngineUnavailableError if a network of those roles is named and not ready."""
        for role in sorted(roles & self.waiting):
            message = f"the {role.replace('_', ' ')} network is not ready"
            raise EngineUnavailableError(message, retry_after=RETRY_AFTER_SECONDS)

    @overload
    def need(self, role: Literal["matting"]) -> Matting: ...
    @overload
    def need(self, role: Literal["face_detector"]) -> FaceDetector: ...
    @overload
    def need(self, role: Literal["face_landmarks"]) -> FaceLandmarks: ...
    @overload
    def need(self, role: Literal["upscaler"]) -> Upscaler: ...
    @overload
    def need(self, role: Literal["nsfw"]) -> Classifier: ...
    @overload
    def need(self, role: Literal["watermark_encoder"]) -> WatermarkEncoder: ...
    @overload
    def need(self, role: Literal["watermark_decoder"]) -> WatermarkDecoder: ...
    def need(self, role: str) -> Callable[..., object]:
        """The network of that role.

        Raises:
            EngineUnavailableError: it is named and not ready.
            UnsupportedTaskError: none is named.
        """
        self.check(frozenset({role}))
        network: Callable[..., object] | None = getattr(self, role)
        if network is None:
            raise UnsupportedTaskError(f"this server has no {role.replace('_', ' ')} network, which this task needs")
        return network
