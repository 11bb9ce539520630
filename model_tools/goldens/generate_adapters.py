"""Makes the adapters' goldens: what diffusers' pipelines make of start pictures, masks, control and image prompts.

    .tools/bin/python -m model_tools.goldens.generate_adapters    # needs what tiny and tiny_adapters made

The noise is ours: each pipeline's first draw is our start noise, its schedulers' draws are our steps'. The VAE's
posterior gives its mean, as ours does. Each pipeline is diffusers' own, unchanged otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import diffusers
import numpy as np
import torch
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from diffusers.schedulers import SchedulerMixin
from PIL import Image
from transformers import CLIPImageProcessor

from model_tools.goldens import adapter_cases, cases
from model_tools.goldens.adapter_cases import ADAPTER_PICTURES, CASES, IMAGE_SIDE, VAE_TILE, AdapterCase
from model_tools.goldens.cases import GUIDANCE_SCALE, NEGATIVE_PROMPT, PICTURE_SIZE, PROMPT, SEED
from model_tools.goldens.generate import our_step_noise, scheduler, write_manifest
from model_tools.goldens.tiny_adapters import Adapters, build
from orchestrator.diffusion.noise import start_noise

PIPELINES: dict[tuple[bool, bool, bool], type[diffusers.DiffusionPipeline]] = {
    (False, False, False): diffusers.StableDiffusionPipeline,
    (True, False, False): diffusers.StableDiffusionImg2ImgPipeline,
    (True, True, False): diffusers.StableDiffusionInpaintPipeline,
    (False, False, True): diffusers.StableDiffusionControlNetPipeline,
    (True, False, True): diffusers.StableDiffusionControlNetImg2ImgPipeline,
    (True, True, True): diffusers.StableDiffusionControlNetInpaintPipeline,
}
"""By whether a case has a start picture, a mask and a control picture."""


@contextmanager
def our_noise(kind: type[diffusers.DiffusionPipeline]) -> Iterator[None]:
    """While open, a pipeline starts from our noise and takes the posterior's mean."""
    shape = (1, 4, PICTURE_SIZE[1] // 8, PICTURE_SIZE[0] // 8)
    start = torch.from_numpy(start_noise(SEED, shape))
    with (
        our_step_noise(),
        mock.patch(f"{kind.__module__}.randn_tensor", return_value=start),
        mock.patch.object(DiagonalGaussianDistribution, "sample", lambda self, *_, **__: self.mode()),
    ):
        yield


def pipeline(case: AdapterCase, adapters: Adapters) -> diffusers.DiffusionPipeline:
    """Diffusers' pipeline for a case."""
    has_control = case.control_scale is not None
    parts: dict[str, Any] = {**adapters.base.components, "scheduler": _scheduler(case), "unet": adapters.unet}
    if case.nine_channels:
        parts["unet"] = adapters.inpainting
    if has_control:
        parts["controlnet"] = adapters.controlnet
    if case.image_scale is not None:
        processor = CLIPImageProcessor(size={"shortest_edge": IMAGE_SIDE}, crop_size=IMAGE_SIDE)
        parts |= {
            "unet": adapters.prompted,
            "image_encoder": adapters.image_encoder,
            "feature_extractor": processor,
        }
    made = PIPELINES[case.strength is not None, case.mask, has_control](**parts, requires_safety_checker=False)
    if case.image_scale is not None:
        made.set_ip_adapter_scale(case.image_scale)
    made.set_progress_bar_config(disable=True)
    return made


def _scheduler(case: AdapterCase) -> SchedulerMixin:
    return scheduler(case.case)


def arguments(case: AdapterCase) -> dict[str, Any]:
    """What that pipeline is called with."""
    width, height = PICTURE_SIZE
    start, control = Image.fromarray(adapter_cases.start()), Image.fromarray(adapter_cases.control())
    given: dict[str, Any] = {"width": width, "height": height}
    if case.strength is not None:
        given |= {"image": start, "strength": case.strength}
        if not case.mask and case.control_scale is None:
            given = {"image": start, "strength": case.strength}  # img2img takes the picture's size
    if case.mask:
        given["mask_image"] = Image.fromarray((adapter_cases.mask() * 255).astype(np.uint8))
    if case.control_scale is not None:
        name = "image" if case.strength is None else "control_image"
        given |= {name: control, "controlnet_conditioning_scale": case.control_scale}
    if case.image_scale is not None:
        given["ip_adapter_image"] = Image.fromarray(adapter_cases.image_prompt())
    return given


def picture(case: AdapterCase, adapters: Adapters) -> dict[str, Any]:
    """Last latents and uint8 picture of a case."""
    last: dict[str, torch.Tensor] = {}

    def keep(_pipeline: object, _step: int, _t: object, values: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        last.update(values)
        return values

    made = pipeline(case, adapters)
    with our_noise(type(made)), torch.no_grad():
        result = made(
            PROMPT,
            negative_prompt=NEGATIVE_PROMPT,
            num_inference_steps=case.case.steps,
            guidance_scale=GUIDANCE_SCALE,
            callback_on_step_end=keep,
            **arguments(case),
        )
    return {"latents": last["latents"].numpy(), "picture": np.asarray(result.images[0])}


def tiled_vae(adapters: Adapters) -> dict[str, Any]:
    """What AutoencoderKL encodes and decodes in tiles: the latents' mean, and the picture of noise."""
    vae = adapters.vae
    vae.enable_tiling()
    vae.tile_sample_min_size, vae.tile_latent_min_size = VAE_TILE, VAE_TILE // 8
    width, height = adapter_cases.LARGE_SIZE
    noise = torch.from_numpy(start_noise(SEED, (1, 4, height // 8, width // 8)))
    processor = diffusers.image_processor.VaeImageProcessor()
    with torch.no_grad():
        mean = vae.encode(processor.preprocess(Image.fromarray(adapter_cases.large()))).latent_dist.mode()
        decoded = vae.decode(noise / vae.config.scaling_factor).sample
    vae.disable_tiling()
    image = processor.postprocess(decoded, output_type="pil")[0]
    return {"tiled-latents": mean.numpy() * vae.config.scaling_factor, "tiled-picture": np.asarray(image)}


def main() -> None:
    """Write the goldens of the adapters, and of the VAE in tiles."""
    adapters = build()
    made: dict[str, Any] = {}
    for case in CASES:
        made.update({f"{case.name}-{what}": array for what, array in picture(case, adapters).items()})
        print(case.name)
    np.savez_compressed(ADAPTER_PICTURES, **made, **tiled_vae(adapters))
    digests = cases.graph_digests() | adapter_cases.graph_digests()
    write_manifest("adapters", "model_tools.goldens.generate_adapters", digests)


if __name__ == "__main__":
    main()
