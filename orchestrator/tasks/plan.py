"""A request with everything decided that it left open, and what its work will cost."""

import asyncio
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np

from orchestrator.arrays import Floats
from orchestrator.diffusion import emphasis
from orchestrator.diffusion.latents import Size, choose_aspect_size
from orchestrator.diffusion.pipeline import Pipeline
from orchestrator.diffusion.tokenizer import Tokens
from orchestrator.errors import InvalidRequestError, UnsupportedTaskError, Violation
from orchestrator.models.contracts import Ids
from orchestrator.models.families import NEEDS, Family
from orchestrator.params import (
    BackgroundParams,
    Caption,
    Control,
    Edit,
    Enhancement,
    FaceSwap,
    Guidance,
    ImageSource,
    ImageToImage,
    Inpaint,
    LayoutParams,
    OutputParams,
    RequestParams,
    SafetyParams,
    SamplerName,
    SizeParams,
    Task,
    TextToImage,
    Upscale,
    faces_wanted,
)
from orchestrator.provenance.origin import Origin
from orchestrator.tasks.kinds import control_kind, starts_from_noise
from orchestrator.tasks.limits import GENERATION_SIDE, upscale_strength
from orchestrator.tasks.origin import origin_of, recipe_of

Kind = TypeVar("Kind", bound=Task)

DRAWN_SEED_BITS = 32
"""Drawn seeds stay short enough to be typed, and exact in every JSON reader."""
TILE_OVERLAP = 1.8
"""Pixels that the UNet sees for each pixel of a picture that is painted in tiles: neighbours overlap."""
NO_GUIDANCE = 1.0
_NO_IDS: Ids = np.empty((0, 0), np.int32)
FACE_NEEDS = frozenset({"unet", "vae_encoder", "face_detector", "face_landmarks"})
"""Roles that better faces need."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to generate. Holds no text but the recipe: prompts may be long, and jobs are kept.

    Attributes:
        family: its name.
        task: what to do, with its own parameters.
        prompt_ids, negative_ids: (E, n * L), the prompts as tokens, a row for each text encoder; empty until
            with_prompts.
        prompt_weights, negative_weights: of each token; None where all are 1.
        clip_skip: last layers of the text encoders that are left out.
        loras: scales of the LoRAs of the family's networks, in their order; empty for none.
        seed: of all randomness.
        sampler, steps, guidance_scale, guidance: of the denoising loop, as if it were walked whole.
        skip_tolerance: of step skipping, see PipelineInputs.
        size: as asked for; where it is open the picture decides, or, without one, the family.
        layout, background, output, enhancements, caption, safety: as asked for.
        preview_interval: a preview after each n-th step; 0 for none.
        prompt_tokens_cut: tokens that the text encoder does not take.
        control_kind: index, in the family's control_kinds, of what steers, if a picture does.
        cost: work: pixels that the UNet sees, over all steps and guidance rows.
        origin: what the result is, as far as the client's pictures do not say otherwise.
        recipe: prompt and settings for the file; None where they were not asked for.
    """

    family: str
    task: Task
    prompt_ids: Ids
    negative_ids: Ids
    seed: int
    sampler: SamplerName
    steps: int
    guidance_scale: float
    guidance: Guidance = field(default_factory=Guidance)
    skip_tolerance: float = 0.0
    size: SizeParams
    layout: LayoutParams
    background: BackgroundParams
    output: OutputParams
    enhancements: tuple[Enhancement, ...] = ()
    caption: Caption | None = None
    safety: SafetyParams | None = None
    preview_interval: int
    prompt_tokens_cut: int
    prompt_weights: Floats | None = None
    negative_weights: Floats | None = None
    clip_skip: int = 0
    loras: tuple[float, ...] = ()
    control_kind: int = 0
    cost: float
    origin: Origin
    recipe: str | None = None

    @property
    def paints(self) -> bool:
        """Whether the family's networks are needed: all tasks but one paint, and so do better faces."""
        return not isinstance(self.task, Edit) or self.faces is not None

    @property
    def faces(self) -> Enhancement | None:
        """How faces are enhanced, if they are."""
        return faces_wanted(self.enhancements)

    @property
    def needs(self) -> frozenset[str]:
        """Roles of networks and tools in addition to those that every family has: see models.families.NEEDS."""
        needed = NEEDS[self.task.name] | (FACE_NEEDS if self.faces else frozenset()) | likeness_needs(self.task)
        return needed if self.safety is None else needed | {"nsfw"}

    @property
    def sources(self) -> tuple[ImageSource, ...]:
        """The client's pictures, in the order of their fields."""
        safety = () if self.safety is None or self.safety.replacement is None else (self.safety.replacement,)
        return (*_sources(self.task, self.background, self.caption), *safety)

    @property
    def held_bytes(self) -> int:
        """Bytes of the pictures that came with the request."""
        return sum(len(source.data or b"") for source in self.sources)


def plan(params: RequestParams, family: Family, pipeline: Pipeline) -> Plan:
    """Fill in what the request left to the family, and draw a seed if it has none. Nothing is fetched or tokenized.

    Raises:
        InvalidRequestError: the sampler cannot walk the steps, the family has no control kind of that name or cannot
            leave out that many layers or lacks a LoRA, or the weights of a prompt cannot be read.
        UnsupportedTaskError: the family has not the networks of the task.
    """
    if params.task.name not in family.tasks:
        raise UnsupportedTaskError(f"family {family.name} has no networks for the task {params.task.name}")
    if params.safety is not None and params.safety.enabled and family.tools.nsfw is None:
        raise UnsupportedTaskError("this server has no safety filter; leave safety out, or ask the operator for one")
    if faces_wanted(params.enhancements) is not None and not family.abilities >= FACE_NEEDS:
        raise UnsupportedTaskError(f"family {family.name} has no networks for face_enhance")
    if not family.abilities >= likeness_needs(params.task):
        raise UnsupportedTaskError(f"family {family.name} has no networks for {params.task.name} with references")
    kind = control_kind(params.task, family)
    _check_prompts(params, family)
    sampler = params.sampler or family.default_sampler
    steps = params.steps or family.default_steps
    pipeline.check_steps(sampler, steps)
    guidance_scale = params.guidance_scale
    if guidance_scale is None:  # without words there is nothing to guide to
        guidance_scale = family.default_guidance_scale if params.prompt.strip() else NO_GUIDANCE
    pipeline.check_guidance(guidance_scale)
    guidance = pipeline.guidance(params.guidance)
    seed = secrets.randbits(DRAWN_SEED_BITS) if params.seed is None else params.seed
    size = None if params.task.starts_from_picture else text_size(params.size, family)
    recipe = recipe_of(
        params, family, size=size, seed=seed, sampler=sampler, steps=steps, guidance_scale=guidance_scale
    )
    return Plan(
        family=family.name,
        task=params.task,
        prompt_ids=_NO_IDS,
        negative_ids=_NO_IDS,
        seed=seed,
        sampler=sampler,
        steps=steps,
        guidance_scale=guidance_scale,
        guidance=guidance,
        skip_tolerance=family.default_skip_tolerance if params.skip_tolerance is None else params.skip_tolerance,
        size=params.size,
        layout=params.layout,
        background=params.background,
        output=params.output,
        enhancements=params.enhancements,
        caption=params.caption,
        safety=params.safety if params.safety is not None and params.safety.enabled else None,
        preview_interval=params.preview_interval,
        prompt_tokens_cut=0,
        clip_skip=params.clip_skip,
        loras=_lora_scales(params, family),
        control_kind=kind,
        cost=_cost(
            params,
            family,
            kind,
            lambda strength: pipeline.rows_walked(sampler, steps, strength, guidance_scale, guidance),
        ),
        origin=origin_of(params, family, kind),
        recipe=recipe,
    )


def likeness_needs(task: Task) -> frozenset[str]:
    """What pictures whose likeness steers need of a family."""
    return frozenset({"likeness"} if isinstance(task, (ImageToImage, Inpaint)) and task.references else ())


async def with_prompts(plan: Plan, params: RequestParams, family: Family, pipeline: Pipeline) -> Plan:
    """The plan of a request with its prompts as tokens. Long prompts take a while: a thread does it."""
    weighted = is_weighted(params, family)

    def tokenize() -> tuple[Tokens, Tokens]:
        prompt = family.full_prompt(params.prompt) if params.prompt.strip() else ""
        return (
            pipeline.tokenize(prompt, weighted=weighted),
            pipeline.tokenize(params.negative_prompt, weighted=weighted),
        )

    prompt, negative = await asyncio.to_thread(tokenize)
    return replace(
        plan,
        prompt_ids=prompt.ids,
        negative_ids=negative.ids,
        prompt_weights=prompt.weights,
        negative_weights=negative.weights,
        prompt_tokens_cut=prompt.dropped,
    )


def is_weighted(params: RequestParams, family: Family) -> bool:
    """Whether brackets in the prompts are weights: as the request says, or else the family."""
    return family.prompt_weights if params.prompt_weights is None else params.prompt_weights


def _lora_scales(params: RequestParams, family: Family) -> tuple[float, ...]:
    """The request's scale of each LoRA that the family has.

    Raises:
        InvalidRequestError: the family has none of a name; the message lists those that it has.
    """
    if not params.loras:
        return ()
    known = family.networks.loras
    listed = f"they are {', '.join(lora.name for lora in known)}" if known else "it has none"
    unknown = [
        Violation(f"loras[{number}].name", f"{each.name[:64]!r} is not a LoRA of family {family.name}: {listed}")
        for number, each in enumerate(params.loras)
        if each.name not in {lora.name for lora in known}
    ]
    if unknown:
        raise InvalidRequestError(*unknown)
    asked = {each.name: each.weight for each in params.loras}
    own = {lora.name: lora.weight for lora in known}
    scales = {name: own[name] if weight is None else weight for name, weight in asked.items()}
    return tuple(scales.get(lora.name, 0.0) for lora in known)


def _check_prompts(params: RequestParams, family: Family) -> None:
    """See that weights can be read, before the request waits for its turn, and that the family can skip layers."""
    found = []
    most = family.networks.max_clip_skip
    if params.clip_skip > most:
        accepted = f"accepts up to {most}" if most else "accepts none"
        found.append(Violation("clip_skip", f"is {params.clip_skip}, but family {family.name} {accepted}"))
    if is_weighted(params, family) and family.networks.texts:
        found.append(Violation("prompt_weights", f"family {family.name} takes no weights: leave it out, or set false"))
    elif is_weighted(params, family):
        texts = {"prompt": family.full_prompt(params.prompt), "negative_prompt": params.negative_prompt}
        for path, text in texts.items():
            try:
                emphasis.parse(text)
            except ValueError as error:
                found.append(Violation(path, str(error)))
    if found:
        raise InvalidRequestError(*found)


def task_of(plan: Plan, kind: type[Kind]) -> Kind:
    """The plan's task, which is of that kind."""
    if not isinstance(plan.task, kind):
        raise TypeError(f"the task is {plan.task.name}, not {kind.name}")
    return plan.task


def text_size(size: SizeParams, family: Family) -> Size:
    """Size of a picture that starts from no picture."""
    return size.width or size.height or family.default_width, size.height or size.width or family.default_height


def _sources(task: Task, background: BackgroundParams, caption: Caption | None) -> Iterator[ImageSource]:
    if not isinstance(task, TextToImage):
        yield task.image
    if isinstance(task, Inpaint):
        yield task.mask
    if isinstance(task, (ImageToImage, Inpaint)):
        yield from task.references
    if isinstance(task, FaceSwap):
        yield task.face
    if background.replace is not None:
        yield background.replace
    if caption is not None:
        yield caption.image


def _cost(params: RequestParams, family: Family, kind: int, rows: Callable[[float], int]) -> float:
    """Pixels that the UNet sees, of all rows of a walk, whose number `rows` knows by a start's strength.

    The size of a picture that is still to be fetched is not known: it is taken as the family's own.
    """
    task, sizes = params.task, family.networks.aspect_sizes
    width, height = choose_aspect_size(sizes, *text_size(params.size, family))
    pixels, strength = float(width * height), 1.0
    wanted = faces_wanted(params.enhancements)
    faces = 0.0 if wanted is None else pixels * rows(wanted.strength)  # as if there were one
    is_enlarged_plainly = isinstance(task, Upscale) and not family.upscale_detail
    if isinstance(task, Edit) or is_enlarged_plainly:  # one look at a picture, about as long as one step
        return pixels + faces
    if isinstance(task, Upscale):
        width, height = (
            min(side or GENERATION_SIDE, GENERATION_SIDE) for side in (params.size.width, params.size.height)
        )
        pixels, strength = TILE_OVERLAP * width * height, family.upscale_detail * upscale_strength(task.fidelity)
    elif isinstance(task, Control) and not starts_from_noise(task, family, kind):
        strength = task.effective_strength
    elif isinstance(task, (ImageToImage, Inpaint, FaceSwap)):
        strength = task.strength
    return pixels * rows(strength) + faces
