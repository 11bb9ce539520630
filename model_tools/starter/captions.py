"""Caption strings of a concept, in the forms that people and the families' templates write them."""

import random
from dataclasses import dataclass

from model_tools.starter.pictures import Concept

# The families' templates, word for word (families/families.toml): the style words steer the one network.
TEMPLATES = {
    "3d": "{prompt}, high quality, highly detailed, 8K",
    "flat": "fantasy illustration, {prompt}, high quality, highly detailed, 8K",
}
# What is left of a template that was not filled in: without its quality words a caption still names its style.
BARE = {"3d": "{prompt}", "flat": "fantasy illustration, {prompt}"}
EMPTY = ""


@dataclass(frozen=True, slots=True)
class Captions:
    """Rows of the caption list: what the wrapped and the bare forms of a concept in a style are."""

    wrapped: tuple[str, ...]
    bare: tuple[str, ...]


def article(label: str) -> str:
    """The label with 'a' or 'an' in front."""
    return f"{'an' if label[:1].lower() in 'aeiou' else 'a'} {label}"


def plain_forms(concept: Concept) -> tuple[str, ...]:
    """The caption forms before any style or quality words: label, sentence, label with tags, tags.

    The tags are shuffled by the concept's code: emojibase sorts them, and the first few of the alphabet say little.
    """
    tags = [tag for tag in concept.tags if tag.lower() != concept.label.lower()]
    random.Random(concept.code).shuffle(tags)  # noqa: S311 -- nothing secret
    return (
        concept.label,
        article(concept.label),
        f"{concept.label} on a white background",
        ", ".join([concept.label, *tags[:3]]),
        ", ".join(tags[:5]) or concept.label,
    )


def captions_of(concept: Concept, style: str) -> Captions:
    """All forms of a concept in one style."""
    forms = plain_forms(concept)
    return Captions(
        tuple(TEMPLATES[style].format(prompt=form) for form in forms),
        tuple(BARE[style].format(prompt=form) for form in forms),
    )
