"""The Protocols of contracts.py over Triton's models."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from orchestrator.errors import FamilyConfigError
from orchestrator.models.contracts import ControlRows, Floats, Ids, ImageRows, ModelDigest, Networks
from orchestrator.models.specs import CONTROL, FAMILY_ROLES, LIKENESS, TOOL_ROLES
from orchestrator.models.tables import NetworkTable
from orchestrator.models.triton import ModelInfo, TritonServer

STEERING = {tensor.name for tensor in (*CONTROL, *LIKENESS)}
"""Inputs of a controlled UNet beside a plain one's."""
UPSCALER_SCALE = "2"
"""Of an upscaler whose config.pbtxt has no parameter `scale`."""


@dataclass(frozen=True, slots=True)
class TritonFamily:
    """Networks that can be called, and which they are, by their role."""

    networks: Networks
    digests: Mapping[str, ModelDigest]


@dataclass(frozen=True, slots=True)
class _Model:
    """A model of a server: one request is at most max_batch_size rows.

    With a `fixed_batch` every request is padded to so many rows, which is all that the model takes: Triton merges
    nothing into it, and its result depends on nobody else (families.NetworkTable says when that is needed).
    """

    server: TritonServer
    info: ModelInfo
    fixed_batch: int = 0

    def __post_init__(self) -> None:
        """Raise FamilyConfigError if the model's batch does not fit."""
        if self.fixed_batch and self.fixed_batch != self.info.max_batch_size:
            raise FamilyConfigError(
                f"fixed_batch is {self.fixed_batch}, max_batch_size of {self.info.name} is {self.info.max_batch_size}: "
                "they must be the same, or Triton merges other rows into the batch"
            )

    async def infer(self, inputs: Mapping[str, Floats | Ids], *outputs: str) -> tuple[Floats, ...]:
        """Run one request, padded with copies of its last row."""
        rows = len(next(iter(inputs.values())))
        if missing := max(0, self.fixed_batch - rows):
            inputs = {name: np.concatenate([a, np.repeat(a[-1:], missing, axis=0)]) for name, a in inputs.items()}
        return tuple(array[:rows] for array in await self.server.infer(self.info, inputs, outputs))


class TritonTextEncoder(_Model):
    """TextEncoder over Triton."""

    async def __call__(self, input_ids: Ids) -> Floats:
        """See contracts.TextEncoder."""
        (hidden_states,) = await self.infer({"input_ids": input_ids}, "hidden_states")
        return hidden_states


class TritonControlledUnet(_Model):
    """ControlledUnet over Triton.

    What is not given is sent as zeros, so that all requests bring the same inputs: Triton merges no others. Where the
    model marks the control picture as optional, a placeholder of 1 x 1 pixels stands for it (engines/absent.py).
    """

    async def __call__(
        self,
        sample: Floats,
        timestep: Floats,
        encoder_hidden_states: Floats,
        control: ControlRows | None,
        image: ImageRows | None,
    ) -> Floats:
        """See contracts.ControlledUnet."""
        inputs = {"sample": sample, "timestep": timestep, "encoder_hidden_states": encoder_hidden_states}
        if control is not None:
            inputs |= {"control_image": control.image, "control_scale": control.scale}
        if image is not None:
            inputs |= {"image_embeds": image.embeds, "image_scale": image.scale}
        for name in STEERING - inputs.keys() & self.info.dims.keys():
            inputs[name] = self._zeros(name, sample)
        (out_sample,) = await self.infer(inputs, "out_sample")
        return out_sample

    def _zeros(self, name: str, sample: Floats) -> Floats:
        """Zeros of an input that was not given; free sides are the control picture's, 8 pixels for each latent."""
        sides = (1, 1) if name in self.info.optional else (8 * side for side in sample.shape[2:])
        free = iter(sides)
        sizes = [size if size > 0 else next(free) for size in self.info.dims[name]]
        return np.zeros((len(sample), *sizes), np.float32)


class TritonUnet(TritonControlledUnet):
    """Unet over Triton. The model may be a controlled one, if what steers it is optional."""

    async def __call__(  # type: ignore[override]  # the same call without what steers
        self, sample: Floats, timestep: Floats, encoder_hidden_states: Floats
    ) -> Floats:
        """See contracts.Unet."""
        return await super().__call__(sample, timestep, encoder_hidden_states, None, None)


class TritonVaeDecoder(_Model):
    """VaeDecoder over Triton."""

    async def __call__(self, latents: Floats) -> Floats:
        """See contracts.VaeDecoder."""
        (image,) = await self.infer({"latents": latents}, "image")
        return image


class TritonVaeEncoder(_Model):
    """VaeEncoder over Triton."""

    async def __call__(self, image: Floats) -> Floats:
        """See contracts.VaeEncoder."""
        (latents,) = await self.infer({"image": image}, "latents")
        return latents


class _OneSize(_Model):
    @property
    def side(self) -> int:
        """S, pixels: what the model's configuration says of its picture."""
        return self.info.dims["image"][1]

    def __post_init__(self) -> None:
        """Raise FamilyConfigError if the picture is not a square of a fixed side."""
        super().__post_init__()
        _, height, width = self.info.dims["image"]
        if height != width or height < 1:
            raise FamilyConfigError(f"model {self.info.name}: image is {height} x {width}, not a square of fixed side")


class TritonImageEncoder(_OneSize):
    """ImageEncoder over Triton."""

    async def __call__(self, image: Floats) -> tuple[Floats, Floats]:
        """See contracts.ImageEncoder."""
        embeds, negative_embeds = await self.infer({"image": image}, "image_embeds", "negative_image_embeds")
        return embeds, negative_embeds


class TritonMatting(_OneSize):
    """Matting over Triton."""

    async def __call__(self, image: Floats) -> Floats:
        """See contracts.Matting."""
        (alpha,) = await self.infer({"image": image}, "alpha")
        return alpha


class TritonFaceDetector(_Model):
    """FaceDetector over Triton."""

    async def __call__(self, image: Floats) -> tuple[Floats, Floats]:
        """See contracts.FaceDetector."""
        boxes, scores = await self.infer({"image": image}, "boxes", "scores")
        return boxes, scores


class TritonFaceLandmarks(_Model):
    """FaceLandmarks over Triton."""

    async def __call__(self, image: Floats) -> tuple[Floats, Floats]:
        """See contracts.FaceLandmarks."""
        landmarks, score = await self.infer({"image": image}, "landmarks", "score")
        return landmarks, score


class TritonUpscaler(_Model):
    """Upscaler over Triton; its factor is parameter `scale` of config.pbtxt."""

    @property
    def scale(self) -> int:
        """Pixels of the answer for each pixel, along a side."""
        return int(self.info.parameters.get("scale", UPSCALER_SCALE))

    async def __call__(self, image: Floats) -> Floats:
        """See contracts.Upscaler."""
        (upscaled,) = await self.infer({"image": image}, "upscaled")
        return upscaled


FAMILY_NETWORKS: Mapping[str, type[_Model]] = {
    "text_encoder": TritonTextEncoder,
    "unet": TritonUnet,
    "vae_decoder": TritonVaeDecoder,
    "vae_encoder": TritonVaeEncoder,
    "controlled_unet": TritonControlledUnet,
    "inpaint_unet": TritonUnet,
    "image_encoder": TritonImageEncoder,
    "face_encoder": TritonImageEncoder,
}
TOOLS: Mapping[str, Callable[[TritonServer, ModelInfo], _Model]] = {
    "matting": TritonMatting,
    "face_detector": TritonFaceDetector,
    "face_landmarks": TritonFaceLandmarks,
    "upscaler": TritonUpscaler,
}


async def connect(server: TritonServer, table: NetworkTable) -> TritonFamily:
    """Describe the models of a family, and make them callable.

    Raises:
        EngineUnavailableError, EngineFaultError: the server or a model does not answer.
        FamilyConfigError: a model breaks its contract.
    """
    infos = {role: await server.describe(name, FAMILY_ROLES[role]) for role, name in table.roles.items()}
    models = {role: FAMILY_NETWORKS[role](server, info, table.fixed_batch) for role, info in infos.items()}
    max_rows = min(info.max_batch_size for info in infos.values())
    digests = {role: info.digest for role, info in infos.items()}
    return TritonFamily(Networks(**models, max_rows=max_rows), digests)  # type: ignore[arg-type]  # by name


async def connect_tool(server: TritonServer, role: str, name: str) -> tuple[Callable[..., object], ModelDigest]:
    """Describe a model of no family, and make it callable. Raises as `connect` does."""
    info = await server.describe(name, TOOL_ROLES[role])
    return TOOLS[role](server, info), info.digest  # type: ignore[return-value]  # each is called in its own way
