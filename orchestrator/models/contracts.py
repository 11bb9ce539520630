"""What the networks take and give: the seam between the pipeline and whatever runs the networks.

Every tensor has a leading batch dimension; no row of an answer depends on the other rows. Names, types and shapes are
those of the Triton models (specs.py). All arrays are float32, but for token ids.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from orchestrator.arrays import Floats

Ids = npt.NDArray[np.int32]

RETRY_AFTER_SECONDS = 2.0
"""When to come back while a network is not ready."""


class TextEncoder(Protocol):
    """Token ids to the hidden states that condition the UNet."""

    async def __call__(self, input_ids: Ids, skip: int = 0) -> Floats:
        """(B, L) int32 to (B, L, D); `skip` leaves out that many of the last layers."""
        ...


class PooledTextEncoder(Protocol):
    """A text encoder that gives one vector for the whole text, too: SDXL's second, and joint ones."""

    async def __call__(self, input_ids: Ids, skip: int = 0) -> tuple[Floats, Floats]:
        """(B, L) int32 to (B, L, D2), and pooled and projected (B, P), of which nothing is left out."""
        ...


@dataclass(frozen=True, slots=True)
class AddedRows:
    """What some networks get in addition to the hidden states; None what a family's do not take.

    Attributes:
        text_embeds: (B, P), of the whole text: SDXL's, and those of flow families with a second text encoder.
        time_ids: (B, 6), pixels: original height and width, top and left of the crop, target height and width; SDXL's.
        guidance: (B, 1), the guidance scale, of families whose `guidance` is "embedding".
    """

    text_embeds: Floats | None = None
    time_ids: Floats | None = None
    guidance: Floats | None = None

    @property
    def tensors(self) -> dict[str, Floats]:
        """Those that are given, by the names of the model's inputs."""
        every = {"text_embeds": self.text_embeds, "time_ids": self.time_ids, "guidance": self.guidance}
        return {name: array for name, array in every.items() if array is not None}


class Unet(Protocol):
    """Predicts noise or velocity of latents, at a timestep for each row. Of the inpainting UNet, too."""

    async def __call__(
        self, sample: Floats, timestep: Floats, encoder_hidden_states: Floats, added: AddedRows | None = None
    ) -> Floats:
        """(B, C, h, w), (B, 1) in [0, 1000], (B, L, D) to (B, C, h, w).

        For inpainting the sample has 2·C + 1 channels: latents, mask (1 = change), masked picture's latents. Of SDXL D
        is both encoders' together. `added` is given where the family's networks take any of it; of others it is None.
        """
        ...


@dataclass(frozen=True, slots=True)
class ControlRows:
    """What steers each row by pictures, of K kinds. Of scale 0, a kind is as if it were not there.

    Attributes:
        image: (B, 3·K, H, W) RGB in [0, 1], of the picture's size in pixels; the kinds in NetworkTable's order.
        scale: (B, K), from 0.
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
        added: AddedRows | None = None,
    ) -> Floats:
        """As Unet; None of `control` and `image` means rows of scale 0."""
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


class OneSize(Protocol):
    """A network of square pictures, all of one size."""

    @property
    def side(self) -> int:
        """S, pixels."""
        ...


class ImageEncoder(OneSize, Protocol):
    """A picture's likeness, as the controlled UNet takes it. A face encoder is given the inner face only."""

    async def __call__(self, image: Floats) -> tuple[Floats, Floats]:
        """(B, 3, S, S) RGB in [-1, 1] to (B, N, D) tokens, and as many for the row without a prompt."""
        ...


@dataclass(frozen=True, slots=True)
class Networks:
    """The networks of one family; None where families.toml names none.

    Attributes:
        joint_text_encoder: `text_encoder` with its pooled output, where NetworkTable.pooled says so.
        max_rows: the most rows that one call may have, of any of them.
    """

    text_encoder: TextEncoder
    unet: Unet | None
    vae_decoder: VaeDecoder
    text_encoder_2: PooledTextEncoder | None = None
    vae_encoder: VaeEncoder | None = None
    controlled_unet: ControlledUnet | None = None
    inpaint_unet: Unet | None = None
    image_encoder: ImageEncoder | None = None
    face_encoder: ImageEncoder | None = None
    joint_text_encoder: PooledTextEncoder | None = None
    max_rows: int = 8
