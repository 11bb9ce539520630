"""The Protocols of tools.py over Triton's models."""

from collections.abc import Callable, Mapping

from orchestrator.arrays import Floats
from orchestrator.models.inference import Engines, Inference
from orchestrator.models.networks import Model, OneSizeModel
from orchestrator.models.specs import TOOL_ROLES
from orchestrator.models.triton import ModelInfo, check_model

UPSCALER_SCALE = "2"
"""Of an upscaler whose config.pbtxt has no parameter `scale`."""


class TritonMatting(OneSizeModel):
    """Matting over Triton."""

    async def __call__(self, image: Floats) -> Floats:
        """See tools.Matting."""
        (alpha,) = await self.infer({"image": image}, "alpha")
        return alpha


class TritonFaceDetector(Model):
    """FaceDetector over Triton."""

    async def __call__(self, image: Floats) -> tuple[Floats, Floats]:
        """See tools.FaceDetector."""
        boxes, scores = await self.infer({"image": image}, "boxes", "scores")
        return boxes, scores


class TritonFaceLandmarks(Model):
    """FaceLandmarks over Triton."""

    async def __call__(self, image: Floats) -> tuple[Floats, Floats]:
        """See tools.FaceLandmarks."""
        landmarks, score = await self.infer({"image": image}, "landmarks", "score")
        return landmarks, score


class TritonUpscaler(Model):
    """Upscaler over Triton; its factor is parameter `scale` of config.pbtxt."""

    @property
    def scale(self) -> int:
        """Pixels of the answer for each pixel, along a side."""
        return int(self.info.parameters.get("scale", UPSCALER_SCALE))

    async def __call__(self, image: Floats) -> Floats:
        """See tools.Upscaler."""
        (upscaled,) = await self.infer({"image": image}, "upscaled")
        return upscaled


class TritonClassifier(OneSizeModel):
    """Classifier over Triton."""

    async def __call__(self, image: Floats) -> Floats:
        """See tools.Classifier."""
        (score,) = await self.infer({"image": image}, "score")
        return score


class TritonWatermarkEncoder(OneSizeModel):
    """WatermarkEncoder over Triton."""

    async def __call__(self, image: Floats, bits: Floats) -> Floats:
        """See tools.WatermarkEncoder."""
        (marked,) = await self.infer({"image": image, "bits": bits}, "marked")
        return marked


class TritonWatermarkDecoder(OneSizeModel):
    """WatermarkDecoder over Triton."""

    async def __call__(self, image: Floats) -> Floats:
        """See tools.WatermarkDecoder."""
        (bits,) = await self.infer({"image": image}, "bits")
        return bits


TOOLS: Mapping[str, Callable[[Inference, ModelInfo], Model]] = {
    "matting": TritonMatting,
    "face_detector": TritonFaceDetector,
    "face_landmarks": TritonFaceLandmarks,
    "upscaler": TritonUpscaler,
    "nsfw": TritonClassifier,
    "watermark_encoder": TritonWatermarkEncoder,
    "watermark_decoder": TritonWatermarkDecoder,
}


async def connect_tool(engines: Engines, role: str, name: str) -> ModelInfo:
    """Describe a model of no family, and compare it with its contract. Raises as `connect` does."""
    info = await engines.describe(name)
    check_model(info, TOOL_ROLES[role])
    make_tool(engines, role, info)
    return info


def make_tool(engines: Inference, role: str, info: ModelInfo) -> Callable[..., object]:
    """The network of a role, run by `engines`."""
    return TOOLS[role](engines, info)  # type: ignore[return-value]  # each is called in its own way
