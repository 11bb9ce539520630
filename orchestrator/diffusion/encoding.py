"""The first stage: prompt, pictures and mask, as the denoising loop takes them."""

import asyncio

import numpy as np

from orchestrator.arrays import Floats
from orchestrator.diffusion import latents
from orchestrator.diffusion.contract_checks import expect
from orchestrator.diffusion.denoiser import Conditions
from orchestrator.diffusion.inputs import ImagePrompt, PipelineInputs
from orchestrator.diffusion.joint_prompts import JointPrompts
from orchestrator.diffusion.prompts import Prompts
from orchestrator.diffusion.sampling import Origin
from orchestrator.diffusion.stages import Steps
from orchestrator.diffusion.vae import Vae
from orchestrator.errors import UnsupportedTaskError
from orchestrator.imaging import geometry, masks
from orchestrator.models.contracts import ImageEncoder, Networks
from orchestrator.models.tables import NetworkTable


async def encode(
    networks: Networks,
    table: NetworkTable,
    prompts: Prompts | JointPrompts,
    inputs: PipelineInputs,
    vae: Vae,
    steps: Steps,
) -> tuple[Conditions, Origin | None]:
    """What steers each step, and the latents to start from; None to start from noise alone.

    Raises:
        UnsupportedTaskError: the family lacks a network that the inputs need; none was called.
        ValueError: the family has no control kind of that index.
        EngineUnavailableError, EngineFaultError: from the networks.
    """
    _check_networks(networks, table, inputs)
    hidden, added = await prompts.encode(networks, inputs, steps)
    prompt = inputs.image_prompt
    likeness = None if prompt is None else await _likeness(networks, prompt, len(hidden), steps)
    origin, masked = await _picture(networks, table, inputs, vae, steps)
    scale = 0.0 if prompt is None else prompt.scale
    return Conditions(hidden, likeness, scale, inputs.control, masked, added), origin


def _check_networks(networks: Networks, table: NetworkTable, inputs: PipelineInputs) -> None:
    steered = inputs.control is not None or inputs.image_prompt is not None
    filled = inputs.mask is not None and networks.inpaint_unet is not None
    needed = {
        "text_encoder_2": table.text_encoder_2 is not None and networks.text_encoder_2 is None,
        "unet": not steered and not filled and networks.unet is None,
        "vae_encoder": inputs.start is not None and networks.vae_encoder is None,
        "controlled_unet": steered and networks.controlled_unet is None,
        "control_kinds": inputs.control is not None and not table.control_kinds,
        "image_encoder": inputs.image_prompt is not None and _image_encoder(networks, inputs.image_prompt) is None,
    }
    if missing := [role.replace("_", " ") for role, is_missing in needed.items() if is_missing]:
        raise UnsupportedTaskError(f"this family has no {' and no '.join(missing)}, which this task needs")
    if inputs.control is not None and inputs.control.kind >= len(table.control_kinds):
        raise ValueError(f"control kind {inputs.control.kind} is not one of {len(table.control_kinds)}")


def _image_encoder(networks: Networks, prompt: ImagePrompt) -> ImageEncoder | None:
    return networks.face_encoder if prompt.face and networks.face_encoder is not None else networks.image_encoder


async def _likeness(networks: Networks, prompt: ImagePrompt, rows: int, steps: Steps) -> Floats:
    """Tokens in the rows of the prompt: the unconditional row has the encoder's own tokens for no picture."""
    encoder = _image_encoder(networks, prompt)
    assert encoder is not None  # noqa: S101  # _check_networks
    found = []
    for picture in (prompt.pixels, *prompt.more):
        pixels = await asyncio.to_thread(geometry.cover, picture, encoder.side, encoder.side)
        await steps.call()
        embeds, negative = await encoder(latents.from_pixels(pixels))
        expect("image encoder", embeds, (1, *embeds.shape[-2:]))
        expect("image encoder", negative, embeds.shape)
        found.append(embeds)
    embeds = found[0] if len(found) == 1 else np.mean(found, axis=0, dtype=np.float32)
    return np.concatenate([negative, embeds][-rows:])


async def _picture(
    networks: Networks, table: NetworkTable, inputs: PipelineInputs, vae: Vae, steps: Steps
) -> tuple[Origin | None, Floats | None]:
    """Where the walk starts, and what the inpainting UNet is given of the picture: mask and masked latents.

    That UNet serves where the family has it and nothing else steers; else the plain one inpaints, and the origin's mask
    has what is kept put back after each step.
    """
    start, network = inputs.start, networks.vae_encoder
    if start is None or network is None:
        return None, None
    image = await asyncio.to_thread(latents.from_pixels, start.pixels)
    if inputs.mask is None:
        return Origin(await vae.encode(network, image, steps)), None
    width, height = (side // table.latent_factor for side in inputs.size)
    mask = masks.to_latents(inputs.mask, (width, height))
    begin = start.strength < 1
    if networks.inpaint_unet is None or inputs.control is not None or inputs.image_prompt is not None:
        return Origin(await vae.encode(network, image, steps), begin, mask), None
    kept = image * (inputs.mask < masks.CHANGED)  # 0, mid-grey, where it may change
    masked = np.concatenate([mask, await vae.encode(network, kept, steps)], axis=1)
    return Origin(await vae.encode(network, image, steps)) if begin else None, masked
