"""What is asked of checkpoints that `model_tools add` made servable: for both sides of the proof. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass

from model_tools.golden_cases import NEGATIVE_PROMPT, PROMPT, SEED

__all__ = ["CASES", "GUIDANCE_SCALE", "MASKED", "NEGATIVE_PROMPT", "PROMPT", "SEED", "STEPS", "Asked"]

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
    """

    task: str
    sampler: str = "euler"
    strength: float | None = None
    edges: float | None = None
    likeness: float | None = None
    negative: str = NEGATIVE_PROMPT

    @property
    def name(self) -> str:
        """Key of its arrays."""
        parts = (self.task, self.sampler, "edges" if self.edges else "", "" if self.negative else "unsaid")
        return "-".join(filter(None, parts))


CASES = (
    Asked("text_to_image"),
    Asked("text_to_image", "dpmpp_2m", negative=""),
    Asked("image_to_image", "ddim", strength=0.7),
    Asked("inpaint", "euler", strength=1.0),
    Asked("inpaint", "ddim", strength=0.7),
    Asked("drawing", "euler_ancestral", edges=0.9),
    Asked("image_to_image", "dpmpp_2m_karras", strength=0.7, edges=0.6),
    Asked("face", "euler", likeness=0.8),
)
MASKED = tuple(case for case in CASES if case.task == "inpaint")
"""What a checkpoint that only inpaints can do."""
