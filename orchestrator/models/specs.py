"""Tensors of each kind of network, as the Triton models (model_repository/, `model_tools add`) must have them.

Names, ranks and types here; meaning, shapes and ranges in contracts.py. tests/contract holds the folders to them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A tensor of a network. `rank` counts the dimensions after the batch; all are float32, or integer."""

    name: str
    rank: int
    integer: bool = False


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """Inputs and outputs of a kind of network, and the rows that one request may have (2 with guidance).

    Attributes:
        spare: inputs that it may have as well; they are given zeros.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    rows: int = 1
    spare: tuple[TensorSpec, ...] = ()


IMAGE = TensorSpec("image", 3)
LORA_SCALE = "lora_scale"
"""A further input (LoRAs,) of text encoders and UNets that have LoRAs: the row's scale of each."""
DENOISED = (TensorSpec("sample", 3), TensorSpec("timestep", 1), TensorSpec("encoder_hidden_states", 2))
POOLED = TensorSpec("text_embeds", 1)
TIME_IDS = TensorSpec("time_ids", 1)
GUIDANCE = TensorSpec("guidance", 1)
CONTROL = (TensorSpec("control_image", 3), TensorSpec("control_scale", 1))
LIKENESS = (TensorSpec("image_embeds", 2), TensorSpec("image_scale", 1))

TEXT_ENCODER = NetworkSpec((TensorSpec("input_ids", 1, integer=True),), (TensorSpec("hidden_states", 2),), rows=2)
TEXT_ENCODER_2 = NetworkSpec(TEXT_ENCODER.inputs, (*TEXT_ENCODER.outputs, TensorSpec("text_embeds", 1)), rows=2)
UNET = NetworkSpec(DENOISED, (TensorSpec("out_sample", 3),), rows=2)
CONTROLLED_UNET = NetworkSpec((*DENOISED, *CONTROL, *LIKENESS), UNET.outputs, rows=2)
VAE_DECODER = NetworkSpec((TensorSpec("latents", 3),), (IMAGE,))
VAE_ENCODER = NetworkSpec((IMAGE,), (TensorSpec("latents", 3),))
IMAGE_ENCODER = NetworkSpec((IMAGE,), (TensorSpec("image_embeds", 2), TensorSpec("negative_image_embeds", 2)))

FAMILY_ROLES: Mapping[str, NetworkSpec] = {
    "text_encoder": TEXT_ENCODER,
    "text_encoder_2": TEXT_ENCODER_2,
    "unet": UNET,
    "vae_decoder": VAE_DECODER,
    "vae_encoder": VAE_ENCODER,
    "controlled_unet": CONTROLLED_UNET,
    "inpaint_unet": UNET,
    "image_encoder": IMAGE_ENCODER,
    "face_encoder": IMAGE_ENCODER,
}
"""What a family's networks are called in families.toml. `spec_of` says what a UNet of a certain family has to have."""
UNETS = frozenset({"unet", "inpaint_unet", "controlled_unet"})
TEXT_ENCODERS = frozenset({"text_encoder", "text_encoder_2"})
"""They may have the output `skipped_states` (S, L, D) too: hidden states without the last 1 to S layers."""


def spec_of(
    role: str,
    *,
    pooled: bool,
    control: bool,
    likeness: bool,
    flows: bool = False,
    guidance: bool = False,
    joint: bool = False,
) -> NetworkSpec:
    """The tensors of a family's network.

    Args:
        role: of FAMILY_ROLES.
        pooled: whether a text encoder gives a vector for the whole prompt: then its UNets take POOLED, and TIME_IDS
            unless it flows.
        flows: whether it is one of flow matching.
        guidance: whether its UNets take the guidance scale.
        joint: whether text_encoder is the one that gives that vector.
        control: whether pictures steer its controlled UNet, which then takes CONTROL.
        likeness: whether a picture's likeness steers it, which then takes LIKENESS.
    """
    if role in TEXT_ENCODERS:
        spec = TEXT_ENCODER_2 if joint else FAMILY_ROLES[role]
        return replace(spec, spare=(TensorSpec(LORA_SCALE, 1),))
    if role not in UNETS:
        return FAMILY_ROLES[role]
    added = ((POOLED, pooled), (TIME_IDS, pooled and not flows), (GUIDANCE, guidance))
    inputs = (*DENOISED, *(tensor for tensor, is_taken in added if is_taken))
    if role != "controlled_unet":
        return replace(UNET, inputs=inputs, spare=(TensorSpec(LORA_SCALE, 1),))
    wanted = (*(CONTROL if control else ()), *(LIKENESS if likeness else ()))
    unused = (tensor for tensor in (*CONTROL, *LIKENESS) if tensor not in wanted)
    spare = (*unused, TensorSpec(LORA_SCALE, 1))
    return replace(CONTROLLED_UNET, inputs=(*inputs, *wanted), spare=spare)


TOOL_ROLES: Mapping[str, NetworkSpec] = {
    "matting": NetworkSpec((IMAGE,), (TensorSpec("alpha", 3),)),
    "face_detector": NetworkSpec((IMAGE,), (TensorSpec("boxes", 2), TensorSpec("scores", 2))),
    "face_landmarks": NetworkSpec((IMAGE,), (TensorSpec("landmarks", 2), TensorSpec("score", 1))),
    "upscaler": NetworkSpec((IMAGE,), (TensorSpec("upscaled", 3),)),
    "nsfw": NetworkSpec((IMAGE,), (TensorSpec("score", 1),)),
    "watermark_encoder": NetworkSpec((IMAGE, TensorSpec("bits", 1)), (TensorSpec("marked", 3),)),
    "watermark_decoder": NetworkSpec((IMAGE,), (TensorSpec("bits", 1),)),
}
"""What the networks of no family are called in table [tools] of families.toml."""
