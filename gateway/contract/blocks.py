"""Blocks of the documented request JSON, and kinds of values. contract.py has the rules that hold everywhere."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from gateway.contract import scalars

Side = Annotated[int | str, BeforeValidator(scalars.side, json_schema_input_type=int | str)]
UInt32 = Annotated[int, BeforeValidator(scalars.whole(scalars.UINT32), json_schema_input_type=int | str)]
Whole64 = Annotated[int, BeforeValidator(scalars.whole(scalars.UINT64), json_schema_input_type=int | str)]
FileSize = Annotated[int, BeforeValidator(scalars.file_size, json_schema_input_type=int | str)]
Number = Annotated[float, BeforeValidator(scalars.number, json_schema_input_type=float | str)]
_Texts = Annotated[list[str], Field(max_length=16)]  # more than any client has; bounds the errors of one request
Texts = Annotated[_Texts, BeforeValidator(scalars.texts, json_schema_input_type=list[str] | str)]
Words = Annotated[_Texts, BeforeValidator(scalars.words, json_schema_input_type=list[str] | str)]
Color = str | tuple[Number, Number, Number]
JsonObject = dict[str, object]

# An empty prompt is a mistake to name, not a request without a prompt.
_MAY_BE_EMPTY = frozenset({"description"})


class Block(BaseModel):
    """A JSON object of the request."""

    model_config = ConfigDict(extra="ignore", frozen=True, protected_namespaces=(), use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _drop_empty(cls, value: object) -> object:
        if not isinstance(value, Mapping):
            raise scalars.refusal("must be a JSON object")
        return {key: item for key, item in value.items() if key in _MAY_BE_EMPTY or item not in (None, "", [], {})}


class Generate(Block):
    """What is to be generated."""

    description: str | None = None
    """The prompt. The family adds its own words, by default ", high quality, highly detailed, 8K". Required without a
    picture."""
    additional_prompt: str | None = None
    """More of the prompt, put after the description and a comma."""
    negative_prompt: str | None = None
    """What the picture shall not show."""
    model_type: str | None = None
    """Model family: realistic (default), fantasy, or another that this server has."""
    sample_num: Whole64 | None = None
    """Seed, 0 to 2^63 - 1. The same request with the same seed gives the same picture. Default: drawn, and answered."""
    adapter_type: str | None = None
    """Use of the picture: generate_background (default), face, control, control2, upscale, inpainting or img2img."""
    face_id: bool | None = None
    """With adapter_type face: only the details of the face are used, not hair and surroundings. Default: false."""
    controlnet_conditioning_scale: Number | None = None
    """How much the edges of the picture are kept, 0 to 1. Default: 0.5 with control and control2; the other adapters
    look at edges only if it is given. Not with upscale."""
    ip_image2: str | None = None
    """With adapter_type inpainting: the mask, a picture as url is. White changes. With adapter_type face: the picture
    of the face that replaces the one in url."""
    context_images: Texts | None = None
    """With adapter_type img2img: 1 to 4 pictures, each as url is. Without a url the first one is changed; the others
    steer by their likeness."""
    strength: Number | None = None
    """With adapter_type img2img: how much is changed, above 0 to 1. Default: 0.6. Of a face swap (adapter_type face
    with ip_image2): how much of the new face is generated over, 0 to 1. Default: 0.1."""
    avatar_generation_type: str | None = None
    """With adapter_type face: kind of avatar, such as regular or creative_img2img. ip_image2 decides what happens."""
    item_area_percentage: Number | None = None
    """With adapter_type generate_background: share of the picture that a box around the item may take, above 0 to 1.
    Default: 1, which 0 means too."""
    color: Color | None = None
    """With adapter_type generate_background: what the background starts from. As background.color, or [r, g, b]."""


def _removal(value: object) -> object:
    """A removal by its name; true is the default one, false and none are none."""
    word = value.strip().lower() if isinstance(value, str) else None
    found = value if isinstance(value, bool) else {"true": True, "false": False, "none": False}.get(word or "")
    return value if found is None else "auto" if found else None


class Background(Block):
    """What happens to the background; `generate` generates one."""

    generate: Generate | None = None
    remove: Annotated[str | None, BeforeValidator(_removal, json_schema_input_type=str | bool | None)] = None
    """Cuts out the main object (auto, v2, true), persons (human), things (item) or what prompt names (generative)."""
    prompt: str | None = None
    """With remove "generative": what stays. Words for persons keep persons, words for things keep things; else the main
    object stays."""
    color: str | None = None
    """Colour behind what is transparent, and around what does not fill its canvas: auto (the picture's frame, else
    white), transparent, #rrggbb, #rrggbbaa, rgb(), rgba(), hsl(), hsv(), or a name of HTML.
    Default: transparent; in jpeg white."""
    replace: str | None = None
    """Another background, a picture as url is. The main object is cut out if remove does not say which."""


class Webhooks(Block):
    """Who is informed."""

    complete: str | None = None
    """URL that is called when the job has a picture, by a signed POST: docs/webhooks.md. Default: the account's
    webhook, if it has one."""
    events: Words | None = None
    """The events that it is called for: complete (the default) and failed, a job that ended without a picture."""


class LevelParameters(Block):
    """How much of an enhancement."""

    level: Number | None = None
    """0 (nothing) to 1, the default; of face_enhance 0.5."""


class NsfwParameters(Block):
    """How strict the safe filter is, and what takes the place of what it stops."""

    threshold: Number | None = None
    """Probability from which a picture is stopped: 0 (every picture) to 1. Default: 0.8."""
    thresold: Number | None = None
    """The same, as the documentation's example spells it. threshold wins."""
    nsfw_image_url: str | None = None
    """The picture that becomes the result in place of one that is stopped: as url. Default: the job fails."""
    image_url: str | None = None
    """The same, as the documentation's example spells it."""


class MethodParameters(LevelParameters):
    """Which way of an enhancement, and how much of it."""

    type: str | None = None
    """denoise and deblur: v1 (default) or v2, which is stronger. light and color: contrast (default), hdr_light or
    hdr_light_advanced. face_enhance: beautify-real (default) or beautify, with smoother skin."""


class FaceParameters(MethodParameters):
    """How faces are enhanced."""

    smoothing_level: Number | None = None
    """How smooth skin becomes, 0 to 1. Default: 0, of beautify 0.5."""


class Caption(Block):
    """A picture laid over the result."""

    url: str | None = None
    """The picture, as url is. Required."""
    position: str | None = None
    """Two letters in either order: L, M or R of the width, T, M or B of the height. Default: RB."""
    target_width_percentage: Number | None = None
    """Its width, percent of the result's, above 0 to 100. Default: 25."""
    padding: Side | None = None
    """Room to the borders: pixels, 0 to 2048, or percent of the result's width up to "45%". Default: 5%."""
    opacity: Number | None = None
    """How much of it is seen, 0 to 100. Default: 100."""


class Lora(Block):
    """A LoRA of the family, and how much of it."""

    name: str = ""
    """As GET /v1/families lists it. Required."""
    weight: Number | None = None
    """-4 to 4: 1 as it was trained, 0 none of it. Default: the LoRA's own."""


class Guidance(Block):
    """When guidance is on, and how predictions with and without the prompt become one."""

    start: Number | None = None
    """Share of the steps before it begins, 0 to 1. Default: the family's, mostly 0."""
    end: Number | None = None
    """Share of the steps after which it ends, start to 1; later steps cost half. Default: the family's, mostly 1."""
    rescale: Number | None = None
    """How far the deviation of the prediction is restored, 0 to 1. Default: the family's, mostly 0."""
    method: str | None = None
    """cfg, apg or cfg_zero_star. Default: the family's, mostly cfg."""
    eta: Number | None = None
    """Of apg, 0 to 1. Default: 0."""
    norm_threshold: Number | None = None
    """Of apg, 0 (no bound) to 10000. Default: 15."""
    momentum: Number | None = None
    """Of apg, -1 to 1. Default: -0.5."""


class Extensions(Block):
    """What the documented API does not have."""

    preview_interval: UInt32 | None = None
    """The events of the job show the picture after each n-th step, 0 (never, the default) to 150."""
    steps: UInt32 | None = None
    """Denoising steps, 1 to 150. Default: the family's."""
    sampler: str | None = None
    """ddim, euler, euler_ancestral, dpmpp_2m, dpmpp_2m_karras, lcm, heun, unipc, dpmpp_sde, dpmpp_2m_sde, ddpm or tcd;
    /v1/families says which a family takes. Default: the family's."""
    guidance_scale: Number | None = None
    """Weight of the prompt (classifier-free guidance), 0 to 50; up to 1 there is none. Default: the family's."""
    skip_tolerance: Number | None = None
    """Steps are extrapolated, and take no time, where the error of the predicted picture is estimated to be at most
    this share of it, 0 (never) to 1. Default: the family's, mostly 0."""
    prompt_weights: bool | None = None
    """Whether brackets in prompts are weights: (word), [word], (word:1.3). Default: the family's."""
    clip_skip: UInt32 | None = None
    """Last layers of the text encoders that are left out, 0 (default) to 4, where the family can."""
    loras: Annotated[list[Lora], Field(max_length=16)] | None = None
    """LoRAs of the family, at most three, each once. Default: none."""
    guidance: Guidance | None = None
    """When guidance is on, and how it works. Default: the family's."""
    priority: str | None = None
    """Who goes first when jobs wait: high, normal (default) or low."""
    deadline_seconds: Number | None = None
    """Within how many seconds the picture is to be finished, 0.1 to 86,400: a request that would be late is refused at
    once with 429 and Retry-After. Default: none."""
    n: UInt32 | None = None
    """Pictures, 1 (default) to 10: each is a job of its own, with the seed after that of the one before. All are taken,
    or none."""
