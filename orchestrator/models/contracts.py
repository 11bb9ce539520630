"""What the networks take and give: the seam between the pipeline and whatever runs the networks.

Every tensor has a leading batch dimension; no row of an answer depends on the other rows. Names, types and shapes below
are those of the Triton models (model_repository/, `model_tools add`); tests/contract holds the folders to them.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A tensor of a network. `rank` counts the dimensions after the batch."""

    name: str
    rank: int
    integer: bool = False


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """Inputs and outputs of a kind of network."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


TEXT_ENCODER = NetworkSpec((TensorSpec("input_ids", 1, integer=True),), (TensorSpec("hidden_states", 2),))
UNET = NetworkSpec(
    (TensorSpec("sample", 3), TensorSpec("timestep", 1), TensorSpec("encoder_hidden_states", 2)),
    (TensorSpec("out_sample", 3),),
)
VAE_DECODER = NetworkSpec((TensorSpec("latents", 3),), (TensorSpec("image", 3),))


class TextEncoder(Protocol):
    """Token ids to the hidden states that condition the UNet."""

    async def __call__(self, input_ids: Ids) -> Floats:
        """(B, L) int32 to (B, L, D) float32."""
        ...


class Unet(Protocol):
    """Predicts noise or velocity of latents, at a timestep for each row."""

    async def __call__(self, sample: Floats, timestep: Floats, encoder_hidden_states: Floats) -> Floats:
        """(B, C, h, w), (B, 1) in [0, 1000), (B, L, D) to (B, C, h, w), all float32."""
        ...


class VaeDecoder(Protocol):
    """Latents to a picture."""

    async def __call__(self, latents: Floats) -> Floats:
        """(B, C, h, w), already divided by the scaling factor, to (B, 3, 8h, 8w) RGB in [-1, 1], all float32."""
        ...


@dataclass(frozen=True, slots=True)
class Networks:
    """The networks of one family."""

    text_encoder: TextEncoder
    unet: Unet
    vae_decoder: VaeDecoder


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
    """Gives the networks of a family, by the family's name."""

    def networks(self, family: str) -> Networks:
        """The networks, or EngineUnavailableError while they are not ready."""
        ...

    def is_ready(self, family: str) -> bool:
        """Whether `networks` answers."""
        ...

    def digests(self, family: str) -> tuple[ModelDigest, ...]:
        """Which networks they are, in the order of NetworkTable.model_names; empty if they never were ready."""
        ...
