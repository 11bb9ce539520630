"""What is asked of checkpoints that `model_tools add` made servable: for both sides of the proof. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass

from model_tools.goldens.cases import NEGATIVE_PROMPT, PROMPT, SEED

__all__ = [
    "CASES",
    "CONSISTENCY",
    "EVERY",
    "FLOW_CASES",
    "FLUX2",
    "GUIDANCE_SCALE",
    "KLEIN",
    "LORAS",
    "MASKED",
    "NEGATIVE_PROMPT",
    "PROMPT",
    "PROMPTS",
    "SEED",
    "STEPS",
    "Asked",
]

STEPS = 6
GUIDANCE_SCALE = 5.0


@dataclass(frozen=True)
class Asked:
    """One request.

    Attributes:
        task: of the schema, or "drawing": control by a drawing's edges alone.
        sampler: of ours.
        strength: of the start picture.
        edges: scale of the control network; None for none.
        likeness: scale of the image prompt.
        negative: the negative prompt.
        prompt: in segments, each with its weight.
        clip_skip: last layers of the text encoders that are left out.
        loras: names and weights.
        guidance: scale.
    """

    task: str
    sampler: str = "euler"
    strength: float | None = None
    edges: float | None = None
    likeness: float | None = None
    negative: str = NEGATIVE_PROMPT
    prompt: tuple[tuple[str, float], ...] = ((PROMPT, 1.0),)
    clip_skip: int = 0
    loras: tuple[tuple[str, float], ...] = ()
    guidance: float = GUIDANCE_SCALE

    @property
    def name(self) -> str:
        """Key of its arrays."""
        parts = (self.task, self.sampler, "edges" if self.edges else "", "" if self.negative else "unsaid")
        words = (
            "prompt" + str(len(self.text)) if self.by_hand else "",
            f"skip{self.clip_skip}" if self.clip_skip else "",
        )
        loras = (f"{name}{weight}" for name, weight in self.loras)
        guidance = "" if self.guidance == GUIDANCE_SCALE else f"guidance{self.guidance:g}"
        return "-".join(filter(None, (*parts, *words, *loras, guidance)))

    @property
    def text(self) -> str:
        """The prompt as a request has it."""
        return "".join(words if weight == 1 else f"({words}:{weight})" for words, weight in self.prompt)

    @property
    def by_hand(self) -> bool:
        """Whether diffusers' pipelines cannot read the prompt, and are given its hidden states."""
        return self.clip_skip > 0 or self.prompt != ((PROMPT, 1.0),)


LONG = "red house, " * 40
"""Of 120 tokens, whose words end where the first chunk does."""
PROMPTS = (
    Asked("text_to_image", prompt=((LONG, 1.0),)),
    Asked("text_to_image", prompt=(("a ", 1.0), ("red", 1.4), (" house", 1.0), (", sea", 0.5))),
    Asked("image_to_image", "ddim", strength=0.7, prompt=((LONG, 1.0), ("stormy sea", 1.3)), negative=LONG * 2),
    Asked("text_to_image", clip_skip=1),
)
"""What diffusers' pipelines take as hidden states alone."""
LORAS = (
    Asked("text_to_image", loras=(("ink", 0.8),)),
    Asked("text_to_image", loras=(("oil", -0.5), ("ink", 1.2))),
    Asked("inpaint", "ddim", strength=0.7, loras=(("oil", 1.0),)),
    Asked("image_to_image", "dpmpp_2m_karras", strength=0.7, edges=0.6, loras=(("ink", 1.0), ("oil", 0.4))),
)
"""What LoRAs that requests name do."""
CASES = (
    Asked("text_to_image"),
    Asked("text_to_image", "dpmpp_2m", negative=""),
    Asked("image_to_image", "ddim", strength=0.7),
    Asked("inpaint", "euler", strength=1.0),
    Asked("inpaint", "ddim", strength=0.7),
    Asked("drawing", "euler_ancestral", edges=0.9),
    Asked("image_to_image", "dpmpp_2m_karras", strength=0.7, edges=0.6),
    Asked("face", "euler", likeness=0.8),
    *PROMPTS,
    *LORAS,
)
FLOW_CASES = (
    Asked("text_to_image"),
    Asked("text_to_image", negative=""),
    Asked("image_to_image", strength=0.7),
    Asked("inpaint", strength=1.0),
)
"""Of flow matching; diffusers' pipelines walk it by Euler's method alone."""
CONSISTENCY = (
    Asked("text_to_image", "lcm"),
    Asked("text_to_image", "lcm", guidance=2.0),
    Asked("image_to_image", "lcm", strength=0.7),
    Asked("inpaint", "lcm", strength=1.0),
)
"""Of a latent consistency model whose UNet takes the guidance scale."""
FLUX2 = (Asked("text_to_image", negative=""),)
"""Of FLUX.2 klein's base model, with guidance."""
KLEIN = (Asked("text_to_image", negative="", guidance=1.0),)
"""Of FLUX.2 klein as it was distilled, without."""
EVERY = {case.name: case for case in (*CASES, *FLOW_CASES, *CONSISTENCY, *FLUX2, *KLEIN)}
"""By name."""
MASKED = tuple(case for case in CASES if case.task == "inpaint")
"""What a checkpoint that only inpaints can do."""
