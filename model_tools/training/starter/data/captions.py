"""Captions of concepts and of composed pictures, in the forms that people and the families' templates write them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from model_tools.training.pictures import STYLES, Concept
from model_tools.training.starter.data.compose import ALONE, COLOURS, COUNTS, IN_SCENE
from model_tools.training.starter.data.people import describe_people, styled
from model_tools.training.starter.data.scenes import SCENES
from model_tools.training.starter.data.words import (
    COUNTED,
    DIGITS,
    NOTHING,
    PLACED,
    PLAIN,
    SCENIC,
    SHOWN,
    SYNONYMS,
    UNTOLD,
    packaged,
    plural,
    with_article,
)

# The families' templates, word for word (families/families.toml): the style words steer the one network.
TEMPLATES = {
    "3d": "{prompt}, high quality, highly detailed, 8K",
    "flat": "fantasy illustration, {prompt}, high quality, highly detailed, 8K",
}
# The rest of a template that was not filled in: without its quality words a caption still names its style.
BARE = {"3d": "{prompt}", "flat": "fantasy illustration, {prompt}"}
EMPTY = ""
WRAPPED_SHARE = 0.7
# Instead of a concept's place in the list: a scene without an object, and a caption that asks for nothing.
NO_OBJECT, ANYTHING = -1, -2
PLAIN_COUNT = {True: 7, False: 2}
COMPOSED = 17000
PEOPLE, STYLED = 7000, 5000
LONGEST_TAG = 24


@dataclass(frozen=True, slots=True)
class Entry:
    """A caption and what is to be seen. `concept`: a place in the list of concepts, NO_OBJECT or ANYTHING."""

    text: str
    style: str
    concept: int
    colour: str | None = None
    layout: int = ALONE
    scene: str | None = None


def paraphrases() -> dict[str, list[str]]:
    """The 100 prompts that no training may see, and the labels that answer each."""
    found: dict[str, list[str]] = packaged("paraphrases.json")
    return found


def descriptions() -> dict[str, str]:
    """The 60 descriptions by which the draft's constants were chosen, and the label that each means. Not trained on."""
    found: dict[str, str] = packaged("descriptions.json")
    return found


def people_prompts() -> dict[str, list[str]]:
    """The 60 prompts about people that no training may see, and the words one of which answering labels begin with."""
    found: dict[str, list[str]] = packaged("people_prompts.json")
    return found


def article(label: str) -> str:
    """The label with 'a' or 'an' in front."""
    return with_article(f"a {label}")


def holders(said: Iterable[tuple[int, Iterable[str]]]) -> dict[str, list[int]]:
    """Each text that is said of concepts, and the places of those it is said of."""
    found: dict[str, list[int]] = {}
    for place, texts in said:
        for text in texts:
            found.setdefault(text, []).append(place)
    return found


def owner(tag: str, holders: list[int], concepts: list[Concept]) -> int:
    """Which of the concepts that have a tag it means: one whose label has the word, a common one, a short one."""

    def fitness(place: int) -> tuple[bool, float, int, int]:
        label = concepts[place].label.lower()
        return (tag in label.split(), concepts[place].weight, -len(label.split()), -place)

    return max(holders, key=fitness)


def names_of(concepts: list[Concept]) -> dict[str, int]:
    """Every word or phrase that names a concept: labels, then synonyms, then tags that few concepts share."""
    names = {concept.label.lower(): place for place, concept in enumerate(concepts)}
    places = {concept.label: place for place, concept in enumerate(concepts)}
    for name, label in SYNONYMS.items():
        if label in places:
            names.setdefault(name, places[label])
    for tag, found in holders((place, map(str.lower, concept.tags)) for place, concept in enumerate(concepts)).items():
        if 2 < len(tag) < LONGEST_TAG and len(found) <= 5:
            names.setdefault(tag, owner(tag, found, concepts))
    return names


def bare_of_colour(name: str) -> str:
    """A name without a colour in front: what another colour can be put before."""
    first, _, rest = name.partition(" ")
    return rest if first in COLOURS and rest else name


def plain_entries(concepts: list[Concept], names: dict[str, int], random: np.random.Generator) -> Iterator[Entry]:
    """One thing alone on white."""
    by_concept: dict[int, list[str]] = {}
    for name, place in names.items():
        by_concept.setdefault(place, []).append(name)
    for place, known in by_concept.items():
        concept = concepts[place]
        for style in concept.rows:
            yield Entry(wrap(concept.label, style, wrapped=True), style, place)
            yield Entry(wrap(concept.label, style, wrapped=False), style, place)
            tags = ", ".join([concept.label, *random.permutation(concept.tags)[:3]])
            yield Entry(dress(tags, style, random), style, place)
            for _ in range(PLAIN_COUNT[concept.weight == 1.0]):
                name = known[0] if random.random() < 0.5 else str(random.choice(known))
                yield Entry(dress(str(random.choice(PLAIN)).format(x=name), style, random), style, place)


def described_entries(
    concepts: list[Concept], described: dict[int, list[str]], random: np.random.Generator
) -> Iterator[Entry]:
    """One thing alone on white, described and not named. What describes several concepts is said of one of them."""
    for text, found in holders(described.items()).items():
        place = owner(text, found, concepts)
        for style in concepts[place].rows:
            yield Entry(wrap(text, style, wrapped=True), style, place)
            yield Entry(wrap(text, style, wrapped=False), style, place)
            yield Entry(dress(f"{random.choice(SHOWN)} {text}", style, random), style, place)


def scene_entries(random: np.random.Generator) -> Iterator[Entry]:
    """Scenes without an object, for both styles."""
    for key, scene in SCENES.items():
        texts = [str(random.choice(SCENIC)).format(x=name) for name in scene.names for _ in range(3)]
        texts += [*scene.names, *scene.places]
        texts += [f"{random.choice(UNTOLD)} {place}" for place in scene.places for _ in range(2)]
        for text in texts:
            for style in STYLES:
                yield Entry(dress(text, style, random), style, NO_OBJECT, scene=key)


def composed_entries(concepts: list[Concept], names: dict[str, int], random: np.random.Generator) -> Iterator[Entry]:
    """Things in other colours, several at once, in scenes, and all of these together."""
    common = [name for name, place in names.items() if concepts[place].weight == 1.0]
    every, keys = list(names), list(SCENES)
    for _ in range(COMPOSED):
        name = str(random.choice(common if random.random() < 0.8 else every))
        place, style = names[name], STYLES[int(random.random() < 0.45)]
        if style not in concepts[place].rows:
            continue
        colour = str(random.choice(list(COLOURS))) if random.random() < 0.4 else None
        count = str(random.choice(list(COUNTS))) if random.random() < 0.4 else None
        scene = str(random.choice(keys)) if random.random() < 0.5 or not (colour or count) else None
        text = phrase(name, colour, count, scene, random)
        layout = COUNTS[count] if count else (IN_SCENE if scene else ALONE)
        yield Entry(dress(text, style, random), style, place, colour, layout, scene)


def people_entries(concepts: list[Concept], random: np.random.Generator) -> Iterator[Entry]:
    """People in clothes, scenes and styles of art, in both styles of the set."""
    for text, place, layout, scene in describe_people(concepts, PEOPLE, random):
        for style in concepts[place].rows:
            yield Entry(dress(text, style, random), style, place, None, layout, scene)


def styled_entries(concepts: list[Concept], names: dict[str, int], random: np.random.Generator) -> Iterator[Entry]:
    """Things with words about the style of art after them: those words leave the thing as it is."""
    common = [name for name, place in names.items() if concepts[place].weight == 1.0]
    for _ in range(STYLED):
        name = str(random.choice(common))
        text, scene = styled(str(random.choice(PLAIN)).format(x=name), random)
        for style in concepts[names[name]].rows:
            yield Entry(dress(text, style, random), style, names[name], None, IN_SCENE if scene else ALONE, scene)


def phrase(name: str, colour: str | None, count: str | None, scene: str | None, random: np.random.Generator) -> str:
    """The words for a composed picture."""
    thing = name if colour is None else f"{colour} {bare_of_colour(name)}"
    if count is not None:
        number = DIGITS[count] if random.random() < 0.2 else count
        pattern = "{c} {s}" if scene else str(random.choice(COUNTED))
        thing = pattern.format(c=number, s=plural(thing))
    if scene is None:
        return thing if count else str(random.choice(PLAIN)).format(x=thing)
    pattern = str(random.choice(PLACED if count is None else ("{x} {p}", "{x}, {n} background")))
    known = SCENES[scene]
    return pattern.format(x=thing, p=str(random.choice(known.places)), n=str(random.choice(known.names)))


def wrap(text: str, style: str, *, wrapped: bool) -> str:
    """The text in its style's template, or with the style's words alone."""
    return with_article((TEMPLATES if wrapped else BARE)[style].format(prompt=text))


def dress(text: str, style: str, random: np.random.Generator) -> str:
    """The same by chance."""
    return wrap(text, style, wrapped=random.random() < WRAPPED_SHARE)


def make_entries(
    concepts: list[Concept], seed: int = 0, *, described: dict[int, list[str]] | None = None
) -> list[Entry]:
    """All captions, each text once: the first meaning stays. None is one of those that are kept for measures.

    `described`: what a dictionary says of concepts, by their place in the list.
    """
    random, names = np.random.default_rng(seed), names_of(concepts)
    kept = (*paraphrases(), *descriptions(), *people_prompts())
    kept_out = {wrap(text, style, wrapped=wrapped) for text in kept for style in STYLES for wrapped in (True, False)}
    kept_out |= {text.lower() for text in kept_out}
    entries: dict[str, Entry] = {}
    for text in NOTHING:
        entries[text] = Entry(text, "flat" if text.startswith("fantasy") else "3d", ANYTHING)
    for entry in (
        *plain_entries(concepts, names, random),
        *scene_entries(random),
        *composed_entries(concepts, names, random),
        *described_entries(concepts, described or {}, random),
        *people_entries(concepts, random),
        *styled_entries(concepts, names, random),
    ):
        if entry.text not in kept_out and entry.text.lower() not in kept_out:
            entries.setdefault(entry.text, entry)
    return list(entries.values())
