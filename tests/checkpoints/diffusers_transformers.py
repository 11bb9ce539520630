"""Diffusers' side of the proof for diffusion transformers: its own pipelines over the same folders, with our noise."""

from __future__ import annotations

import inspect
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from unittest import mock

import diffusers
import numpy as np
import torch
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from PIL import Image

from orchestrator.diffusion.noise import start_noise
from tests.checkpoints.cases import PROMPT, SEED, STEPS, Asked

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

Arrays = dict[str, Any]

torch.set_num_threads(1)  # small networks: a second thread mostly waits
diffusers.utils.logging.set_verbosity_error()
KINDS = {
    (False, False): "Pipeline",
    (True, False): "Img2ImgPipeline",
    (True, True): "InpaintPipeline",
}
"""What a pipeline's name ends with, by whether there is a start picture and a mask."""
SHIFTED_SCALE = ("ZImage",)
"""Pipelines whose guidance scale counts from 0 for none."""
UNSHIFTED = ("StableDiffusion3",)
"""Families whose inpainting pipeline decodes without the VAE's shift_factor (diffusers 0.42.1), as no other does."""
LENGTHS = {"Flux": 256}
"""Tokens of pipelines that are called with others than their own."""


def picture(folder: Path, case: Asked, arrays: Arrays, tiny_vae: Path | None = None) -> NDArray[np.uint8]:
    """What diffusers makes of the case; `arrays`: what our task had prepared; `tiny_vae`: in place of its own."""
    base = diffusers.DiffusionPipeline.from_pretrained(folder)
    if tiny_vae is not None:
        base.vae = diffusers.AutoencoderTiny.from_pretrained(tiny_vae)
    family = type(base).__name__.removesuffix("Pipeline")
    kind = getattr(diffusers, family + KINDS["start" in arrays, "mask" in arrays])
    made = base if kind is type(base) else kind.from_pipe(base)
    made.set_progress_bar_config(disable=True)
    with our_noise(made), torch.no_grad():
        given = arguments(made, family, case, arrays)
        if "mask" in arrays and family in UNSHIFTED:
            images = made.image_processor.postprocess(decoded(made, prompt=PROMPT, **given))
        else:
            images = made(prompt=PROMPT, **given).images
    return np.asarray(images[0])


def decoded(made: Any, **given: object) -> torch.Tensor:  # one of UNSHIFTED
    """A pipeline's latents, decoded as its siblings do it."""
    latents, vae = made(**given, output_type="latent").images, made.vae
    image: torch.Tensor = vae.decode(latents / vae.config.scaling_factor + vae.config.shift_factor).sample
    return image


def arguments(made: Any, family: str, case: Asked, arrays: Arrays) -> Arrays:  # one of many classes
    """What the pipeline is called with in addition to the prompt."""
    known = inspect.signature(made.__call__).parameters
    width, height = (int(side) for side in arrays["size"])
    scale = case.guidance - (family in SHIFTED_SCALE)
    given: Arrays = {
        **({"negative_prompt": case.negative} if "negative_prompt" in known else {}),
        "num_inference_steps": STEPS,
        "width": width,
        "height": height,
        "true_cfg_scale" if "true_cfg_scale" in known else "guidance_scale": scale,
    }
    if family in LENGTHS:
        given["max_sequence_length"] = LENGTHS[family]
    if "start" in arrays:
        given |= {"image": Image.fromarray(arrays["start"]), "strength": case.strength}
    if "mask" in arrays:
        given["mask_image"] = Image.fromarray((arrays["mask"] * 255).astype(np.uint8))
    return given


@contextmanager
def our_noise(made: Any) -> Iterator[None]:  # one of many classes
    """While open, a pipeline starts from our noise, and takes the posterior's mean."""

    def noise(shape: tuple[int, ...], **_: object) -> torch.Tensor:
        channels, *sides = (length for length in shape[1:] if length > 1)
        return torch.from_numpy(start_noise(SEED, (1, channels, *sides))).reshape(shape)

    module = sys.modules[type(made).__module__]
    with (
        mock.patch.object(module, "randn_tensor", noise),
        mock.patch.object(DiagonalGaussianDistribution, "sample", lambda self, *_, **__: self.mode()),
    ):
        yield
