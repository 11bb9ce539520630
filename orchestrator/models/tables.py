"""What families.toml says of networks and tools, checked and frozen."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

import pydantic
from pydantic import Field

from orchestrator.models.specs import FAMILY_ROLES, TOOL_ROLES
from orchestrator.params import MAX_CLIP_SKIP, MAX_GENERATED_SIDE, MAX_LORA_WEIGHT

Side = Annotated[int, Field(ge=8, le=MAX_GENERATED_SIDE)]
Kind = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
EDGE_KINDS = ("canny", "scribble")
"""Control kinds whose pictures are drawn here, white lines on black. Those of other kinds come from the client."""
Rgb = tuple[float, float, float]
MAX_LORAS = 64
"""Of a set of networks."""
MAX_EMBEDDINGS, MAX_VECTORS = 256, 64
"""Of a set of networks, and of one embedding."""


class Table(pydantic.BaseModel):
    """A table of families.toml: unknown keys, infinities and NaN are refused with ValueError."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ScheduleTable(Table):
    """Noise schedule of diffusion, and what the UNet predicts; names and meaning as in scheduler_config.json."""

    prediction_type: Literal["epsilon", "v_prediction"]
    beta_start: float = Field(0.00085, gt=0, lt=1)
    beta_end: float = Field(0.012, gt=0, lt=1)
    train_steps: int = Field(1000, ge=100, le=10_000)
    timestep_spacing: Literal["trailing", "leading", "linspace"] = "trailing"
    steps_offset: int = Field(0, ge=0, le=1)
    set_alpha_to_one: bool = True

    @pydantic.model_validator(mode="after")
    def _betas_grow(self) -> "ScheduleTable":
        if self.beta_start > self.beta_end:
            raise ValueError("beta_start must not exceed beta_end")
        return self


class FlowTable(Table):
    """Schedule of flow matching; the names are diffusers' where it has them.

    Attributes:
        prediction_type: "flow": the network answers v = noise - picture. It is given 1000 * sigma as its timestep, from
            1000 (noise) down to 0; a model that wants something else converts in its graph.
        shift_by: what moves the levels towards noise: "fixed" is `shift`; "size" the number of tokens of the picture,
            by base_shift and max_shift; "size_linear" the same as a factor, not its logarithm; "size_and_steps"
            FLUX.2's fit.
        shift: of "fixed".
        base_shift, max_shift, base_image_seq_len, max_image_seq_len: of "size" and "size_linear".
        shift_terminal: level of the last step, to which all are stretched; none by default.
        timestep_spacing: "trailing" ends at 1 / steps before the levels are moved (FLUX, Z-Image, Qwen-Image);
            "linspace" at the smallest trained level (Stable Diffusion 3).
        train_steps: num_train_timesteps.
    """

    prediction_type: Literal["flow"]
    shift_by: Literal["fixed", "size", "size_linear", "size_and_steps"] = "fixed"
    shift: float = Field(1.0, gt=0, le=100)
    base_shift: float = Field(0.5, ge=-10, le=10)
    max_shift: float = Field(1.15, ge=-10, le=10)
    base_image_seq_len: int = Field(256, ge=1)
    max_image_seq_len: int = Field(4096, ge=2)
    shift_terminal: float | None = Field(None, gt=0, lt=1)
    timestep_spacing: Literal["trailing", "linspace"] = "trailing"
    train_steps: int = Field(1000, ge=100, le=10_000)

    @pydantic.model_validator(mode="after")
    def _lengths_grow(self) -> "FlowTable":
        if self.base_image_seq_len >= self.max_image_seq_len:
            raise ValueError("base_image_seq_len must be below max_image_seq_len")
        if self.shift_by == "size_linear" and min(self.base_shift, self.max_shift) <= 0:
            raise ValueError("base_shift and max_shift must be above 0 where shift_by is size_linear")
        return self


class PreviewTable(Table):
    """Linear map of latents to RGB in [-1, 1]: one row of factors for each latent channel, and a bias."""

    factors: tuple[Rgb, ...]
    bias: Rgb


class LoraTable(Table):
    """A LoRA that requests may name; `model_tools add-lora` puts it into the networks' folders.

    Attributes:
        name: what requests call it.
        license: of its weights, SPDX where there is one.
        commercial: whether that licence allows commercial use.
        weight: where a request names none.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")
    license: str = Field(min_length=1)
    commercial: bool = True
    weight: float = Field(1.0, ge=-MAX_LORA_WEIGHT, le=MAX_LORA_WEIGHT)


class TextTable(Table):
    """A tokenizer, and what it is given; see NetworkTable.texts.

    Attributes:
        tokenizer: path of tokenizer.json, relative to families.toml.
        length: ids, the rest filled up with pad_id.
        pad_id: token id that fills up.
        template: what its model wants around each prompt, the negative one too; holds "{prompt}" once. What looks like
            a special token counts as one here, and as text in a prompt.
    """

    tokenizer: Path
    length: int = Field(ge=3, le=4096)
    pad_id: int = Field(ge=0)
    template: str = Field("{prompt}", max_length=4096)


class NetworkTable(Table):
    """A set of networks that belong together, shared by the families that name it.

    Attributes:
        text_encoder, vae_decoder: names of Triton models.
        unet: of the UNet that paints. It may be left out where `inpaint_unet` is named: such networks serve the tasks
            that mask a picture, and no others.
        text_encoder_2: of the second text encoder, with a pooled output: the networks are SDXL's.
        vae_encoder: of the model that turns a picture into latents; needed by every task that starts from a picture.
        controlled_unet: of the UNet that edges and a likeness steer. It may be the model `unet` is, if its further
            inputs are optional.
        control_kinds: what its control pictures show, in the order in which it takes them: "canny" and "scribble" are
            computed here, any other name ("depth") is of pictures that clients send. None of them if it takes no
            picture.
        inpaint_unet: of a UNet that was trained to inpaint, with 2 * latent_channels + 1 channels. Without one, the
            plain UNet inpaints, and what is kept is put back after each step.
        image_encoder: of the likeness of a picture; without one, the controlled UNet takes no likeness.
        face_encoder: of the likeness of a face; without one, image_encoder serves.
        tokenizer: path of tokenizer.json, relative to families.toml; left out where there are `texts`.
        texts: in place of tokenizer and pad_id, of text encoders that are language models, or several in one graph:
            the ids of all of them, one after the other, are text_length together.
        pooled: whether text_encoder gives a vector for the whole prompt, too, which the networks take.
        tokenizer_2: of the second text encoder; `tokenizer` by default.
        text_length: tokens that the text encoders take.
        text_chunks: longest prompt, as a multiple of text_length: chunks are encoded each by itself, and joined. The
            UNets' encoder_hidden_states must then be of free length. Each chunk has two special tokens.
        max_clip_skip: most layers at the end of the text encoders that a request may leave out.
        embeddings: words that stand for textual inversions (add-embedding), and the number of vectors of each.
        loras: in the order of the models' input `lora_scale`.
        pad_id: token id that fills up.
        pad_id_2: of the second text encoder; `pad_id` by default. SDXL's is 0.
        zero_empty_negative: whether an empty negative prompt is zeros instead of its encoding: diffusers'
            force_zeros_for_empty_prompt, true of SDXL.
        latent_channels: channels of the latents.
        latent_factor: pixels for each latent, along a side.
        scaling_factor: the decoder takes latents divided by this, plus shift_factor.
        latent_multiple: what the sides of latents must be multiples of: 2 for each downsampling of the UNet; the
            `patch` of a transformer.
        patch: latents of a token along a side, of transformers; what shifts by the picture's size count, and what
            guidance_norm goes by. Latents are never packed here: a graph that wants tokens packs and unpacks them.
        guidance: how guidance_scale works. "classifier_free": above 1 each step has a second row, for the negative
            prompt. "embedding": the network takes the scale as its input `guidance`, (B, 1), and steps have one row.
            "none": the network was distilled without; requests that ask for more than 1 are refused.
        guidance_norm: whether guided predictions get back the length that the prompt's own has, token by token
            (Qwen-Image).
        aspect_sizes: width and height, in pixels, of the sizes at which the UNet runs, its native one first. The key of
            the file is `buckets`.
        tile: width and height, in pixels, of the tiles of larger pictures; the first aspect size by default.
        vae_tile: side, in pixels, of the tiles of pictures that are larger than it for the VAE; the longest side of
            all aspect sizes by default. The last tiles are cut off by the picture's edge, down to `grain`.
        fixed_batch: rows to which each request is padded, for an engine whose results depend on the batch size; the
            models' max_batch_size must be the same, so that Triton merges nothing into it. 0 for no padding.
        preview: linear map of latents to RGB.
    """

    text_encoder: str
    text_encoder_2: str | None = None
    unet: str | None = None
    vae_decoder: str
    vae_encoder: str | None = None
    controlled_unet: str | None = None
    control_kinds: tuple[Kind, ...] = Field(("canny",), max_length=8)
    inpaint_unet: str | None = None
    image_encoder: str | None = None
    face_encoder: str | None = None
    tokenizer: Path | None = None
    texts: tuple[TextTable, ...] = Field((), max_length=4)
    pooled: bool = False
    tokenizer_2: Path | None = None
    text_length: int = Field(ge=3, le=4096)
    text_chunks: int = Field(1, ge=1, le=16)
    max_clip_skip: int = Field(0, ge=0, le=MAX_CLIP_SKIP)
    embeddings: dict[str, Annotated[int, Field(ge=1, le=MAX_VECTORS)]] = Field({}, max_length=MAX_EMBEDDINGS)
    loras: tuple[LoraTable, ...] = Field((), max_length=MAX_LORAS)
    pad_id: int | None = Field(None, ge=0)
    pad_id_2: int | None = Field(None, ge=0)
    zero_empty_negative: bool = False
    latent_channels: int = Field(4, ge=1, le=256)
    latent_factor: int = Field(8, ge=1, le=64)
    scaling_factor: float = Field(gt=0)
    shift_factor: float = 0.0
    latent_multiple: int = Field(1, ge=1, le=64)
    patch: int = Field(1, ge=1, le=16)
    guidance: Literal["classifier_free", "embedding", "none"] = "classifier_free"
    guidance_norm: bool = False
    aspect_sizes: tuple[tuple[Side, Side], ...] = Field(min_length=1, alias="buckets")
    tile: tuple[Side, Side] | None = None
    vae_tile: Side | None = None
    fixed_batch: int = Field(0, ge=0, le=128)
    schedule: Annotated[ScheduleTable | FlowTable, Field(discriminator="prediction_type")]
    preview: PreviewTable | None = None

    @property
    def roles(self) -> dict[str, str]:
        """Names of the Triton models by their role (specs.FAMILY_ROLES), those that are named."""
        return _named(self, FAMILY_ROLES)

    @property
    def model_names(self) -> tuple[str, ...]:
        """The Triton models that must be ready, each once."""
        return tuple(dict.fromkeys(self.roles.values()))

    @property
    def abilities(self) -> frozenset[str]:
        """Roles of the networks that are named, and what they can do together; families.NEEDS asks for both.

        "fill": paint inside a mask; "control": be steered by a picture, "edges": by one that is computed here;
        "likeness": paint what is like a picture.
        """
        steered = self.controlled_unet is not None
        can = {
            "fill": self.unet is not None or self.inpaint_unet is not None,
            "control": steered and bool(self.control_kinds),
            "edges": steered and self.edge_kind is not None,
            "likeness": steered and self.image_encoder is not None,
        }
        return frozenset(self.roles) | {name for name, is_able in can.items() if is_able}

    @property
    def flows(self) -> bool:
        """Whether the networks are of flow matching."""
        return isinstance(self.schedule, FlowTable)

    @property
    def max_prompt_tokens(self) -> int:
        """Tokens of the longest prompt, without the two special ones of each chunk."""
        return self.text_chunks * (self.text_length - 2)

    @property
    def edge_kind(self) -> int | None:
        """Index of the control kind that edges are given as; None if there is none."""
        return next((self.control_kinds.index(kind) for kind in EDGE_KINDS if kind in self.control_kinds), None)

    @property
    def grain(self) -> int:
        """What the sides of a picture must be multiples of, in pixels, for the UNet to run at its size."""
        return self.latent_factor * self.latent_multiple

    @pydantic.model_validator(mode="after")
    def _roles_agree(self) -> "NetworkTable":
        if self.unet is None and self.inpaint_unet is None:
            raise ValueError("needs unet or inpaint_unet")
        if self.text_encoder_2 is None and (self.tokenizer_2 is not None or self.pad_id_2 is not None):
            raise ValueError("tokenizer_2 and pad_id_2 have no meaning without text_encoder_2")
        if len({lora.name for lora in self.loras}) < len(self.loras):
            raise ValueError("loras names one twice")
        if len(set(self.control_kinds)) < len(self.control_kinds):
            raise ValueError("control_kinds names one twice")
        if self.guidance_norm and self.guidance != "classifier_free":
            raise ValueError("guidance_norm has no meaning where guidance is not classifier_free")
        if self.controlled_unet is not None and not self.control_kinds and self.image_encoder is None:
            raise ValueError("controlled_unet has no meaning with neither control_kinds nor image_encoder")
        return self

    @pydantic.model_validator(mode="after")
    def _texts_agree(self) -> "NetworkTable":
        if not self.texts:
            if missing := [name for name in ("tokenizer", "pad_id") if getattr(self, name) is None]:
                raise ValueError(f"needs {' and '.join(missing)}, or texts")
            if self.pooled:
                raise ValueError("pooled has no meaning without texts")
            return self
        if given := [name for name in ("tokenizer", "pad_id", "text_encoder_2") if getattr(self, name) is not None]:
            raise ValueError(f"{given[0]} has no meaning with texts")
        if (total := sum(text.length for text in self.texts)) != self.text_length:
            raise ValueError(f"text_length is {self.text_length}, texts have {total} together")
        return self

    @pydantic.model_validator(mode="after")
    def _sizes_agree(self) -> "NetworkTable":
        if self.latent_multiple % self.patch:
            raise ValueError(f"latent_multiple {self.latent_multiple} is not a multiple of patch {self.patch}")
        for kind, (width, height) in [*(("buckets:", each) for each in self.aspect_sizes), ("tile", self.tile_size)]:
            if width % self.grain or height % self.grain:
                raise ValueError(
                    f"{kind} {width} x {height} is not a multiple of latent_factor * latent_multiple = {self.grain}"
                )
        if self.vae_tile_side % (4 * self.latent_factor):
            raise ValueError(f"vae_tile {self.vae_tile_side} is not a multiple of 4 * latent_factor")
        if self.preview and len(self.preview.factors) != self.latent_channels:
            raise ValueError("preview.factors needs one row for each latent channel")
        return self

    @property
    def tile_size(self) -> tuple[int, int]:
        """Width and height of the UNet's tiles, pixels."""
        return self.tile or self.aspect_sizes[0]

    @property
    def vae_tile_side(self) -> int:
        """Side of the VAE's tiles, pixels."""
        longest = max(max(size) for size in self.aspect_sizes)
        return self.vae_tile or -(-longest // (4 * self.latent_factor)) * 4 * self.latent_factor


class ToolTable(Table):
    """Networks that belong to no family: names of Triton models, by their role.

    Attributes:
        matting: how much of each pixel belongs to the main object.
        face_detector, face_landmarks: where faces are, and their points.
        upscaler: a larger picture, without diffusion.
        nsfw: how likely a picture shows pornography.
        watermark_encoder, watermark_decoder: an invisible mark of 32 bits, written and read.
    """

    matting: str | None = None
    face_detector: str | None = None
    face_landmarks: str | None = None
    upscaler: str | None = None
    nsfw: str | None = None
    watermark_encoder: str | None = None
    watermark_decoder: str | None = None

    @property
    def roles(self) -> dict[str, str]:
        """Names of the Triton models by their role (specs.TOOL_ROLES), those that are named."""
        return _named(self, TOOL_ROLES)


def _named(table: Table, roles: Iterable[str]) -> dict[str, str]:
    """Those of `roles` that a table names a model for."""
    names = {role: getattr(table, role) for role in roles}
    return {role: name for role, name in names.items() if name is not None}
