"""What the networks take and give: the seam between the pipeline and whatever runs the networks.

Every tensor has a leading batch dimension; no row of an answer depends on the other rows. Names, types and shapes are
those of the Triton models (specs.py). All arrays are float32, but for token ids.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, overload

import numpy as np
import numpy.typing as npt

from orchestrator.errors import EngineUnavailableError, UnsupportedTaskError

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int32]

RETRY_AFTER_SECONDS = 2.0
"""When to come back while a network is not ready."""


class TextEncoder(Protocol):
    """Token ids to the hidden states that condition the UNet."""

    async def __call__(self, input_ids: Ids) -> Floats:
        """(B, L) int32 to (B, L, D)."""
        ...


class Unet(Protocol):
    """Predicts noise or velocity of latents, at a timestep for each row. Of the inpainting UNet, too."""

    async def __call__(self, sample: Floats, timestep: Floats, encoder_hidden_states: Floats) -> Floats:
        """(B, C, h, w), (B, 1) in [0, 1000), (B, L, D) to (B, C, h, w).

        For inpainting the sample has 2·C + 1 channels: latents, mask (1 = change), masked picture's latents.
        """
        ...


@dataclass(frozen=True, slots=True)
class ControlRows:
    """What steers each row by a picture. Of scale 0, a row is as without.

    Attributes:
        image: (B, 3, H, W) RGB in [0, 1], of the picture's size in pixels: white edges on black.
        scale: (B, 1), from 0.
    """

    image: Floats
    scale: Floats


@dataclass(frozen=True, slots=True)
class ImageRows:
    """What gives each row the likeness of a picture. Of scale 0, a row is as without.

    Attributes:
        embeds: (B, N, D), from an ImageEncoder.
        scale: (B, 1), from 0.
    """

    embeds: Floats
    scale: Floats


class ControlledUnet(Protocol):
    """A UNet that a control picture and a picture's likeness steer (ControlNet and IP-Adapter in one graph)."""

    async def __call__(
        self,
        sample: Floats,
        timestep: Floats,
        encoder_hidden_states: Floats,
        control: ControlRows | None,
        image: ImageRows | None,
    ) -> Floats:
        """As Unet; None stands for rows of scale 0."""
        ...


class VaeDecoder(Protocol):
    """Latents to a picture."""

    async def __call__(self, latents: Floats) -> Floats:
        """(B, C, h, w), already divided by the scaling factor, to (B, 3, 8h, 8w) RGB in [-1, 1]."""
        ...


class VaeEncoder(Protocol):
    """A picture to latents."""

    async def __call__(self, image: Floats) -> Floats:
        """(B, 3, 8h, 8w) RGB in [-1, 1] to (B, C, h, w): the posterior's mean, not yet times the scaling factor."""
        ...


class _OneSize(Protocol):
    @property
    def side(self) -> int:
        """S, pixels."""
        ...


class ImageEncoder(_OneSize, Protocol):
    """A picture's likeness, as the controlled UNet takes it. A face encoder is given the inner face only."""

    async def __call__(self, image: Floats) -> tuple[Floats, Floats]:
        """(B, 3, S, S) RGB in [-1, 1] to (B, N, D) tokens, and as many for the row without a prompt."""
        ...


class Matting(_OneSize, Protocol):
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


@dataclass(frozen=True, slots=True)
class Networks:
    """The networks of one family; None where families.toml names none.

    Attributes:
        max_rows: the most rows that one call may have, of any of them.
    """

    text_encoder: TextEncoder
    unet: Unet
    vae_decoder: VaeDecoder
    vae_encoder: VaeEncoder | None = None
    controlled_unet: ControlledUnet | None = None
    inpaint_unet: Unet | None = None
    image_encoder: ImageEncoder | None = None
    face_encoder: ImageEncoder | None = None
    max_rows: int = 8


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


@dataclass(frozen=True, slots=True)
class ModelDigest:
    """Which network, exactly.

    Attributes:
        model: name of the Triton model.
        sha256: of the graph file, hex, as the model's configuration states it; empty if it does not.
        engine: backend and precision, for a reader.
    """

    model: str
    sha256: str
    engine: str


class NetworkSource(Protocol):
    """Gives the networks of a family, by the family's name, and the tools."""

    def networks(self, family: str) -> Networks:
        """The networks, or EngineUnavailableError while they are not ready."""
        ...

    def tools(self) -> Tools:
        """The tools that are ready, and the names of those that are not."""
        ...

    def is_ready(self, family: str) -> bool:
        """Whether `networks` answers."""
        ...

    def digests(self, family: str) -> Mapping[str, ModelDigest]:
        """Which networks they are, the tools among them, by their role; those that are ready."""
        ...
