"""Networks without Triton, for unit tests of the rooms above: closed formulas with the shapes of contracts.py."""

import asyncio
from dataclasses import dataclass, field

import numpy as np

from orchestrator.errors import EngineUnavailableError
from orchestrator.models.contracts import Floats, Ids, ModelDigest, Networks


@dataclass
class FakeNetworks:
    """A NetworkSource whose networks are formulas. Counts UNet calls, and can hold or fail them.

    Attributes:
        width: of the text encoder's hidden states.
        calls: UNet calls so far.
        gate: UNet calls wait for it.
        error: raised by UNet calls, if set.
        ready: whether `networks` answers.
    """

    width: int = 8
    calls: int = 0
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    error: Exception | None = None
    ready: bool = True

    def __post_init__(self) -> None:
        """Open the gate."""
        self.gate.set()

    def networks(self, family: str) -> Networks:
        """See contracts.NetworkSource."""
        if not self.ready:
            raise EngineUnavailableError(f"the networks of family {family!r} are not ready")
        return Networks(self._text_encoder, self._unet, self._vae_decoder)

    def is_ready(self, family: str) -> bool:  # noqa: ARG002  # the same for every family
        """See contracts.NetworkSource."""
        return self.ready

    def digests(self, family: str) -> tuple[ModelDigest, ...]:
        """See contracts.NetworkSource."""
        return (ModelDigest(f"fake of {family}", "", "numpy"),)

    async def _text_encoder(self, input_ids: Ids) -> Floats:
        """Sines of the ids."""
        return np.asarray(np.sin(input_ids[..., None] * np.arange(1, self.width + 1)), np.float32)

    async def _unet(self, sample: Floats, timestep: Floats, encoder_hidden_states: Floats) -> Floats:
        """A damped sample, moved by the prompt and the time."""
        await self.gate.wait()
        self.calls += 1
        if self.error is not None:
            raise self.error
        shift = encoder_hidden_states.mean(axis=(1, 2)) + timestep[:, 0] / 1000
        return np.asarray(0.5 * sample + 0.1 * shift[:, None, None, None], np.float32)

    async def _vae_decoder(self, latents: Floats) -> Floats:
        """The first three channels, each latent as a square of 8 x 8 pixels."""
        return np.asarray(np.tanh(latents[:, :3]).repeat(8, axis=2).repeat(8, axis=3), np.float32)
