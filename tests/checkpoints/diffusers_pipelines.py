"""Diffusers' side of the proof: its own pipelines over the checkpoints as they lie on disk, with our noise."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from unittest import mock

import diffusers
import numpy as np
import torch
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from PIL import Image
from transformers import CLIPImageProcessor, CLIPVisionModelWithProjection

from model_tools.goldens import generate as goldens
from orchestrator.diffusion.noise import start_noise
from orchestrator.imaging import geometry
from tests.checkpoints.cases import PROMPT, SEED, STEPS, Asked

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
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
        loras: files by name.
        tiny_vae: folder of an AutoencoderTiny in place of the VAE.
    """

    base: Path
    inpaint: Path | None = None
    control: Path | None = None
    ip_adapter: Path | None = None
    image_encoder: Path | None = None
    loras: Mapping[str, Path] = field(default_factory=dict)
    tiny_vae: Path | None = None


def picture(source: Source, case: Asked, arrays: Arrays) -> NDArray[np.uint8]:
    """What diffusers makes of the case; `arrays`: what our task had prepared."""
    made = pipeline(source, case, arrays)
    with our_noise(type(made), tuple(arrays["size"])), torch.no_grad():
        result = made(
            **prompts(made, case),
            num_inference_steps=STEPS,
            guidance_scale=case.guidance,
            **arguments(made, case, arrays),
        )
    return np.asarray(result.images[0])


def prompts(made: Any, case: Asked) -> Arrays:  # one of ten classes
    """The case's prompts, as texts; or as hidden states joined by hand, where the pipeline cannot read them."""
    if not case.by_hand:
        return {"prompt": PROMPT, "negative_prompt": case.negative or None}
    each = {"prompt_embeds": case.prompt, "negative_prompt_embeds": ((case.negative, 1.0),)}
    second = getattr(made, "text_encoder_2", None)
    given: Arrays = {}
    for name, segments in each.items():
        states = [hidden_states(made.tokenizer, made.text_encoder, segments, case.clip_skip, xl=second is not None)[0]]
        if second is not None:
            further, pooled = hidden_states(made.tokenizer_2, second, segments, case.clip_skip, xl=True)
            states.append(further)
            given[name.replace("prompt_embeds", "pooled_prompt_embeds")] = pooled
            empty = hidden_states(made.tokenizer_2, second, (), case.clip_skip, xl=True)[0]
        given[name] = states
    empties = [hidden_states(made.tokenizer, made.text_encoder, (), case.clip_skip, xl=second is not None)[0]]
    empties += [] if second is None else [empty]
    longest = max(given[name][0].shape[1] for name in each)
    for name in each:
        joined = [
            torch.cat([state, *[nothing] * ((longest - state.shape[1]) // nothing.shape[1])], 1)
            for state, nothing in zip(given[name], empties, strict=True)
        ]
        given[name] = torch.cat(joined, -1)
    return given


def hidden_states(
    tokens: Any, encoder: Any, segments: tuple[tuple[str, float], ...], skip: int, *, xl: bool
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Of a prompt in chunks of 75 tokens: hidden states (1, n * 77, D), weighted, and the first chunk's pooled ones."""
    ids, weights = [], []
    for text, weight in segments:
        found = tokens(text, add_special_tokens=False).input_ids
        ids += found
        weights += [weight] * len(found)
    states, pooled = [], []
    with torch.no_grad():
        for start in range(0, max(len(ids), 1), 75):
            chunk, scale = ids[start : start + 75], weights[start : start + 75]
            here, vector = _encode(tokens, encoder, chunk, skip, xl=xl)
            empty, _ = _encode(tokens, encoder, [], skip, xl=xl)
            for place, weight in enumerate(scale, 1):
                here[:, place] = empty[:, place] + weight * (here[:, place] - empty[:, place])
            states.append(here)
            pooled.append(vector)
    return torch.cat(states, 1), pooled[0]


def _encode(tokens: Any, encoder: Any, ids: list[int], skip: int, *, xl: bool) -> Any:  # tensors
    """One chunk, as diffusers' encode_prompt has hidden states with clip_skip."""
    padding = [tokens.pad_token_id] * (75 - len(ids))
    framed = torch.tensor([[tokens.bos_token_id, *ids, tokens.eos_token_id, *padding]])
    output = encoder(framed, output_hidden_states=True)
    pooled = getattr(output, "text_embeds", None)
    if xl:
        return output.hidden_states[-(skip + 2)].clone(), pooled
    if skip:
        norm = getattr(encoder, "text_model", encoder).final_layer_norm
        return norm(output.hidden_states[-(skip + 1)]), pooled
    return output.last_hidden_state.clone(), pooled


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
    if source.tiny_vae is not None:
        further["vae"] = diffusers.AutoencoderTiny.from_pretrained(source.tiny_vae)
    made = kind.from_pipe(base, **further)
    settings, wanted = goldens.SCHEDULERS[case.sampler][::-1]
    made.scheduler = wanted.from_config(base.scheduler.config, **settings)
    if "image_prompt" in arrays:
        put_adapter(made, source, case)
    for name, _ in case.loras:
        made.load_lora_weights(source.loras[name], adapter_name=name)
    if case.loras:
        made.set_adapters([name for name, _ in case.loras], [weight for _, weight in case.loras])
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
