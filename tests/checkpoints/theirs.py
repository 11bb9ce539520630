"""Diffusers' side of the proof: its own pipelines over the checkpoints as they lie on disk, with our noise."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from unittest import mock

import diffusers
import numpy as np
import torch
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from PIL import Image
from transformers import CLIPImageProcessor, CLIPVisionModelWithProjection

from model_tools import goldens
from orchestrator.diffusion.noise import start_noise
from orchestrator.imaging import geometry
from tests.checkpoints.cases import GUIDANCE_SCALE, PROMPT, SEED, STEPS, Asked

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

Arrays = dict[str, Any]

KINDS = {
    (False, False, False): "Pipeline",
    (True, False, False): "Img2ImgPipeline",
    (True, True, False): "InpaintPipeline",
    (False, False, True): "ControlNetPipeline",
    (True, False, True): "ControlNetImg2ImgPipeline",
}
"""What a pipeline's name ends with, by whether there is a start picture, a mask and a control picture."""


# Small networks: a second thread mostly waits, and where other work runs it waits for long.
torch.set_num_threads(1)
diffusers.utils.logging.set_verbosity_error()


@dataclass(frozen=True)
class Source:
    """A checkpoint, and what is put next to it; as `add` is given them.

    Attributes:
        base: folder in diffusers' layout.
        inpaint: of the checkpoint whose UNet inpaints in place of the base's.
        control: of the control network.
        ip_adapter: the adapter's file.
        image_encoder: folder of the adapter's image encoder.
    """

    base: Path
    inpaint: Path | None = None
    control: Path | None = None
    ip_adapter: Path | None = None
    image_encoder: Path | None = None


def picture(source: Source, case: Asked, arrays: Arrays) -> NDArray[np.uint8]:
    """What diffusers makes of the case; `arrays`: what our task had prepared."""
    made = pipeline(source, case, arrays)
    with our_noise(type(made), tuple(arrays["size"])), torch.no_grad():
        result = made(
            PROMPT,
            negative_prompt=case.negative or None,
            num_inference_steps=STEPS,
            guidance_scale=GUIDANCE_SCALE,
            **arguments(made, case, arrays),
        )
    return np.asarray(result.images[0])


def pipeline(source: Source, case: Asked, arrays: Arrays) -> Any:  # one of ten classes
    """The pipeline that a user of diffusers would take."""
    base = diffusers.DiffusionPipeline.from_pretrained(source.base)
    prefix = "StableDiffusionXL" if hasattr(base, "text_encoder_2") else "StableDiffusion"
    kind = getattr(diffusers, prefix + KINDS["start" in arrays, "mask" in arrays, "control" in arrays])
    further: dict[str, Any] = {}
    if "control" in arrays:
        further["controlnet"] = diffusers.ControlNetModel.from_pretrained(source.control)
    if "mask" in arrays and source.inpaint is not None:
        further["unet"] = diffusers.UNet2DConditionModel.from_pretrained(source.inpaint, subfolder="unet")
    made = kind.from_pipe(base, **further)
    settings, wanted = goldens.SCHEDULERS[case.sampler][::-1]
    made.scheduler = wanted.from_config(base.scheduler.config, **settings)
    if "image_prompt" in arrays:
        put_adapter(made, source, case)
    made.set_progress_bar_config(disable=True)
    return made


def put_adapter(made: Any, source: Source, case: Asked) -> None:  # one of ten classes
    """Load the IP-Adapter as diffusers does."""
    assert source.ip_adapter is not None
    encoder = CLIPVisionModelWithProjection.from_pretrained(source.image_encoder)
    side = encoder.config.image_size
    made.register_modules(
        image_encoder=encoder,
        feature_extractor=CLIPImageProcessor(size={"shortest_edge": side}, crop_size=side),
    )
    folder, name = source.ip_adapter.parent, source.ip_adapter.name
    made.load_ip_adapter(folder, subfolder="", weight_name=name, image_encoder_folder=None)
    made.set_ip_adapter_scale(case.likeness)


def arguments(made: Any, case: Asked, arrays: Arrays) -> Arrays:  # one of ten classes
    """What the pipeline is called with in addition to prompt and steps."""
    width, height = (int(side) for side in arrays["size"])
    given: Arrays = {}
    if "start" in arrays:
        given |= {"image": Image.fromarray(arrays["start"]), "strength": case.strength}
    if "mask" in arrays:
        given["mask_image"] = Image.fromarray((arrays["mask"] * 255).astype(np.uint8))
    if "control" in arrays:
        control = Image.fromarray((arrays["control"].transpose(1, 2, 0) * 255).astype(np.uint8))
        given["control_image" if "start" in arrays else "image"] = control
        given["controlnet_conditioning_scale"] = case.edges
    if "start" not in arrays or "mask" in arrays or "control" in arrays:
        given |= {"width": width, "height": height}  # img2img takes the picture's size
    if "image_prompt" in arrays:
        # At the encoder's own side, so that two ways to resample are not what is compared.
        side = made.image_encoder.config.image_size
        given["ip_adapter_image"] = Image.fromarray(geometry.cover(arrays["image_prompt"], side, side))
    return given


@contextmanager
def our_noise(kind: type, size: tuple[int, int]) -> Iterator[None]:
    """While open, a pipeline starts from our noise, takes the posterior's mean, and its scheduler draws ours."""
    start = torch.from_numpy(start_noise(SEED, (1, 4, size[1] // 8, size[0] // 8)))
    module = sys.modules[kind.__module__]
    with (
        goldens.our_step_noise(),
        mock.patch.object(module, "randn_tensor", return_value=start),
        mock.patch.object(DiagonalGaussianDistribution, "sample", lambda self, *_, **__: self.mode()),
    ):
        yield
