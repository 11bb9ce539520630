"""What a request's result is, in terms of its origin, and the recipe that its file may state."""

from orchestrator.diffusion.latents import Size
from orchestrator.models.families import Family
from orchestrator.params import (
    Control,
    Edit,
    Face,
    LoraParams,
    Metadata,
    RequestParams,
    SamplerName,
    TextToImage,
    faces_wanted,
)
from orchestrator.provenance.origin import Origin
from orchestrator.tasks.kinds import starts_from_noise


def origin_of(params: RequestParams, family: Family, kind: int) -> Origin:
    """Origin of the result, as far as it follows from the request: what the client's pictures state comes on top.

    Args:
        params: the request.
        family: that generates.
        kind: index of the control kind that steers (kinds.control_kind).
    """
    task = params.task
    if isinstance(task, Edit) and faces_wanted(params.enhancements) is None:
        return Origin.EDITED
    shows_source = not isinstance(task, (TextToImage, Face))
    if isinstance(task, Control) and starts_from_noise(task, family, kind):
        shows_source = False
    if shows_source or params.background.replace is not None or params.caption is not None:
        return Origin.COMPOSITE
    return Origin.GENERATED


def _lora(lora: LoraParams, family: Family) -> str:
    own = next((each.weight for each in family.networks.loras if each.name == lora.name), 1.0)
    return f"{lora.name}:{own if lora.weight is None else lora.weight:g}"


def recipe_of(
    params: RequestParams,
    family: Family,
    *,
    size: Size | None,
    seed: int,
    sampler: SamplerName,
    steps: int,
    guidance_scale: float,
) -> str | None:
    """Prompt and settings as the field writes them into files; None if the request did not ask for it."""
    if params.output.metadata is Metadata.NONE:
        return None
    settings = {
        "Steps": steps,
        "Sampler": sampler.value,
        "CFG scale": f"{guidance_scale:g}",
        "Seed": seed,
        "Size": None if size is None else "{}x{}".format(*size),
        "Model": family.name,
        "Clip skip": params.clip_skip or None,
        "LoRA": " ".join(_lora(each, family) for each in params.loras) or None,
    }
    lines = [params.prompt]
    if params.negative_prompt:
        lines.append(f"Negative prompt: {params.negative_prompt}")
    lines.append(", ".join(f"{name}: {value}" for name, value in settings.items() if value is not None))
    return "\n".join(lines)
