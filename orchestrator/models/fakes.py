"""Networks without Triton, for unit tests of the rooms above: closed formulas with the shapes of contracts.py."""

import asyncio
from dataclasses import dataclass, field

import numpy as np

from orchestrator.arrays import Floats
from orchestrator.errors import EngineUnavailableError
from orchestrator.models.contracts import AddedRows, ControlRows, Ids, ImageRows, Networks
from orchestrator.models.source import ModelDigest
from orchestrator.models.specs import FAMILY_ROLES, TOOL_ROLES
from orchestrator.models.tools import Tools
from orchestrator.scheduling.turns import Turn

TOKENS = 2
"""Tokens of the image encoder's answer."""


@dataclass
class FakeNetworks:
    """A NetworkSource whose networks are formulas. Counts UNet calls, and can hold or fail them.

    Attributes:
        width: of the text encoder's hidden states.
        calls: UNet calls so far, of every kind of UNet.
        gate: UNet calls wait for it.
        error: raised by UNet calls, if set.
        ready: whether `networks` answers.
        without: roles of networks and tools that are not there, as if families.toml named none.
        waiting: roles of tools that are named and not ready.
        max_rows: the most rows of a call.
        loras: scales that the last request's networks were asked for with.
    """

    width: int = 8
    calls: int = 0
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    error: Exception | None = None
    ready: bool = True
    without: frozenset[str] = frozenset({"inpaint_unet", "face_encoder", "text_encoder_2"})
    waiting: frozenset[str] = frozenset()
    max_rows: int = 8
    loras: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Open the gate."""
        self.gate.set()

    def networks(self, family: str, loras: tuple[float, ...] = (), turn: Turn | None = None) -> Networks:  # noqa: ARG002  # nothing waits
        """See contracts.NetworkSource."""
        self.loras = loras
        if not self.ready:
            raise EngineUnavailableError(f"the networks of family {family!r} are not ready")
        encoder = FakeImageEncoder(self.width)
        further = {
            "text_encoder_2": self._text_encoder_2,
            "vae_encoder": self._vae_encoder,
            "controlled_unet": self._controlled_unet,
            "inpaint_unet": self._inpaint_unet,
            "image_encoder": encoder,
            "face_encoder": encoder,
        }
        there = {role: network for role, network in further.items() if role not in self.without}
        unet = None if "unet" in self.without else self._unet
        return Networks(self._text_encoder, unet, self._vae_decoder, **there, max_rows=self.max_rows)  # type: ignore[arg-type]  # by name

    def engines(self, family: str) -> list[str]:  # noqa: ARG002  # the same for every family
        """See contracts.NetworkSource."""
        return ["fake"]

    def tools(self, turn: Turn | None = None) -> Tools:  # noqa: ARG002  # nothing waits
        """See contracts.NetworkSource."""
        every = {
            "matting": FakeMatting(),
            "face_detector": face_detector,
            "face_landmarks": face_landmarks,
            "upscaler": FakeUpscaler(),
            "nsfw": FakeClassifier(),
        }
        there = {role: tool for role, tool in every.items() if role not in self.without | self.waiting}
        return Tools(**there, waiting=self.waiting)  # type: ignore[arg-type]  # by name

    def is_ready(self, family: str) -> bool:  # noqa: ARG002  # the same for every family
        """See contracts.NetworkSource."""
        return self.ready

    def digests(self, family: str) -> dict[str, ModelDigest]:
        """See contracts.NetworkSource."""
        there = [role for role in (*FAMILY_ROLES, *TOOL_ROLES) if role not in self.without | self.waiting]
        return {role: ModelDigest(f"{family}_{role}", "", "numpy") for role in there}

    async def _text_encoder(self, input_ids: Ids, skip: int = 0) -> Floats:
        """Sines of the ids; half of them for each layer that is left out."""
        return np.asarray(np.sin(input_ids[..., None] * np.arange(1, self.width + 1)) / 2**skip, np.float32)

    async def _text_encoder_2(self, input_ids: Ids, skip: int = 0) -> tuple[Floats, Floats]:
        """Cosines of the ids; half as wide, pooled over the tokens."""
        hidden = np.asarray(np.cos(input_ids[..., None] * np.arange(1, self.width + 1)), np.float32)
        return np.asarray(hidden / 2**skip, np.float32), hidden[..., : self.width // 2].mean(axis=1)

    async def _unet(
        self, sample: Floats, timestep: Floats, encoder_hidden_states: Floats, added: AddedRows | None = None
    ) -> Floats:
        """A damped sample, moved by the prompt, the time, and what is added."""
        await self.gate.wait()
        self.calls += 1
        if self.error is not None:
            raise self.error
        shift = encoder_hidden_states.mean(axis=(1, 2)) + timestep[:, 0] / 1000
        for array in () if added is None else added.tensors.values():
            shift = shift + array @ np.arange(1, 1 + array.shape[1]) / 10_000
        return np.asarray(0.5 * sample + 0.1 * shift[:, None, None, None], np.float32)

    async def _controlled_unet(
        self,
        sample: Floats,
        timestep: Floats,
        encoder_hidden_states: Floats,
        control: ControlRows | None,
        image: ImageRows | None,
        added: AddedRows | None = None,
    ) -> Floats:
        """The plain UNet's answer, and a share of the control pictures' means of 8 x 8 and of the likeness's mean."""
        output = await self._unet(sample, timestep, encoder_hidden_states, added)
        if control is not None:
            rows, kinds = control.scale.shape
            means = blocks(control.image.reshape(rows * kinds, 3, *control.image.shape[2:]).mean(axis=1, keepdims=True))
            steered = means.reshape(rows, kinds, *means.shape[2:]) * np.arange(1, kinds + 1)[:, None, None]
            output = output + (control.scale[:, :, None, None] * steered).sum(axis=1, keepdims=True)
        if image is not None:
            output = output + (image.scale[:, 0] * image.embeds.mean(axis=(1, 2)))[:, None, None, None]
        return np.asarray(output, np.float32)

    async def _inpaint_unet(
        self, sample: Floats, timestep: Floats, encoder_hidden_states: Floats, added: AddedRows | None = None
    ) -> Floats:
        """The plain UNet's answer to the latents, and where nothing may change a share of the kept latents."""
        latents, mask, kept = sample[:, :4], sample[:, 4:5], sample[:, 5:]
        return await self._unet(latents, timestep, encoder_hidden_states, added) + 0.1 * (1 - mask) * kept

    async def _vae_decoder(self, latents: Floats) -> Floats:
        """The first three channels, each latent as a square of 8 x 8 pixels."""
        return np.asarray(np.tanh(latents[:, :3]).repeat(8, axis=2).repeat(8, axis=3), np.float32)

    async def _vae_encoder(self, image: Floats) -> Floats:
        """What the decoder would decode to the means of 8 x 8 pixels; the fourth channel is 0."""
        latents = np.arctanh(np.clip(blocks(image), -0.999, 0.999))
        return np.concatenate([latents, np.zeros_like(latents[:, :1])], axis=1)


def blocks(image: Floats) -> Floats:
    """Means of 8 x 8 pixels: (B, C, H, W) to (B, C, H / 8, W / 8)."""
    rows, channels, height, width = image.shape
    return np.asarray(image.reshape(rows, channels, height // 8, 8, width // 8, 8).mean(axis=(3, 5)), np.float32)


@dataclass(frozen=True, slots=True)
class FakeImageEncoder:
    """Tokens of the picture's mean; zeros for the row without a prompt."""

    width: int
    side: int = 16

    async def __call__(self, image: Floats) -> tuple[Floats, Floats]:
        """See contracts.ImageEncoder."""
        tokens = np.ones((len(image), TOKENS, self.width), np.float32) * image.mean(axis=(1, 2, 3))[:, None, None]
        return np.asarray(tokens, np.float32), np.zeros_like(tokens)


@dataclass(frozen=True, slots=True)
class FakeMatting:
    """The object is what is darker than the corner pixel."""

    side: int = 256

    async def __call__(self, image: Floats) -> Floats:
        """See contracts.Matting."""
        darkness = image[:, :, :1, :1].mean(axis=1, keepdims=True) - image.mean(axis=1, keepdims=True)
        return np.asarray(np.clip(4 * darkness, 0, 1), np.float32)


@dataclass(frozen=True, slots=True)
class FakeClassifier:
    """How red the picture is: 1 for pure red, 0 for grey."""

    side: int = 224

    async def __call__(self, image: Floats) -> Floats:
        """See tools.Classifier."""
        redness = (image[:, 0] - image[:, 1:].max(axis=1)).mean(axis=(1, 2)) / 2
        return np.asarray(np.clip(redness, 0, 1)[:, None], np.float32)


@dataclass(frozen=True, slots=True)
class FakeUpscaler:
    """Each pixel as a square of `scale` x `scale`."""

    scale: int = 2

    async def __call__(self, image: Floats) -> Floats:
        """See contracts.Upscaler."""
        return image.repeat(self.scale, axis=2).repeat(self.scale, axis=3)


async def face_detector(image: Floats) -> tuple[Floats, Floats]:
    """One face: the first anchor, of a score that the picture's mean brightness gives; the others score low."""
    boxes = np.zeros((len(image), 896, 16), np.float32)
    boxes[:, :, 2:4] = 64
    scores = np.full((len(image), 896, 1), -10, np.float32)
    scores[:, 0, 0] = 10 * image.mean(axis=(1, 2, 3))
    return boxes, scores


async def face_landmarks(image: Floats) -> tuple[Floats, Floats]:
    """All 468 points on a circle in the middle of the crop; a face if the crop is brighter than grey."""
    angles = np.linspace(0, 2 * np.pi, 468, endpoint=False)
    points = np.stack([96 + 60 * np.cos(angles), 96 + 60 * np.sin(angles), np.zeros(468)], axis=1)
    landmarks = np.repeat(points[None], len(image), axis=0).astype(np.float32)
    return landmarks, np.asarray(10 * image.mean(axis=(1, 2, 3))[:, None], np.float32)
