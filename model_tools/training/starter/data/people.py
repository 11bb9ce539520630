"""Captions of people, as clients write them: who, in what clothes, doing what, where, in which style of art."""

from collections.abc import Iterator, Sequence

import numpy as np

from model_tools.training.pictures import Concept
from model_tools.training.starter.data.compose import ALONE, IN_SCENE
from model_tools.training.starter.data.scenes import SCENES
from model_tools.training.starter.data.words import packaged, with_article

_DATA = packaged("people.json")
PERSONS: dict[str, list[str]] = _DATA["persons"]
# Clothes and actions that the set has a picture of, by the role that its label names.
ROLES: dict[str, list[str]] = _DATA["roles"]
LOOKS: list[str] = _DATA["looks"]
STYLES: list[str] = _DATA["styles"]
STYLE_SCENES: dict[str, str] = _DATA["style scenes"]
_KINDS = {"woman": "woman", "girl": "woman", "man": "man", "boy": "man", "person": "person", "child": "person"}


def role_label(person: str, role: str, labels: dict[str, int]) -> str:
    """The set's label of a person in a role: "woman astronaut"; the person alone where there is none."""
    kind = _KINDS.get(person.removeprefix("old ").partition(":")[0], "person")
    return next((label for label in (f"{kind} {role}", role, f"person {role}") if label in labels), person)


def styled(text: str, random: np.random.Generator) -> tuple[str, str | None]:
    """The text with words about the style of art after it, and the scene that one of them brings along."""
    pool = [*STYLES, *STYLE_SCENES]
    words = [str(word) for word in random.choice(pool, int(random.integers(0, 4)), replace=False)]
    scene = next((STYLE_SCENES[word] for word in words if word in STYLE_SCENES), None)
    return ", ".join([text, *words]), scene


def describe_people(
    concepts: Sequence[Concept], count: int, random: np.random.Generator
) -> Iterator[tuple[str, int, int, str | None]]:
    """Captions of people: text, place of the concept, layout and scene.

    A place in the caption names the scene; else a style may ("cyberpunk art"). Clothes and actions that the set does
    not have leave the person as it is.
    """
    labels = {concept.label: place for place, concept in enumerate(concepts)}
    persons = [(label, word) for label, words in PERSONS.items() if label in labels for word in words]
    for _ in range(count if persons else 0):
        person, word = persons[int(random.integers(len(persons)))]
        label, parts = person, [word]
        if random.random() < 0.45:
            role = str(random.choice(list(ROLES)))
            parts.append(str(random.choice(ROLES[role])))
            label = role_label(person, role, labels)
        place = str(random.choice(list(SCENES))) if random.random() < 0.5 else None
        where = str(random.choice(SCENES[place].places)) if place else ""
        looks = [str(look) for look in random.choice(LOOKS, int(random.integers(0, 3)), replace=False)]
        if place and random.random() < 0.5:
            parts.append(where)
            where = ""
        text = " ".join(parts)
        if looks:
            text = f"{text} {looks[0]}" + "".join(f", {look}" for look in looks[1:])
        if where:
            text = f"{text} {where}" if random.random() < 0.5 else f"{text}, {where}"
        if random.random() < 0.5:
            text = with_article(f"a {text}") if not text.startswith(("a ", "the ")) else text
        text, styling = styled(text, random)
        scene = place or styling
        yield text, labels[label], IN_SCENE if scene else ALONE, scene
