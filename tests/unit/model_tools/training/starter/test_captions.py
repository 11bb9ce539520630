"""Captions: the templates are the families', what they mean is what they say, and the kept paraphrases stay out."""

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the tools' environment: make test-tools")

from model_tools.training.pictures import Concept
from model_tools.training.starter.data.captions import (
    ANYTHING,
    NO_OBJECT,
    TEMPLATES,
    article,
    bare_of_colour,
    descriptions,
    make_entries,
    names_of,
    paraphrases,
    people_prompts,
    phrase,
)
from model_tools.training.starter.data.compose import ALONE, COLOURS, IN_SCENE
from model_tools.training.starter.data.people import PERSONS, STYLE_SCENES, describe_people, role_label
from model_tools.training.starter.data.scenes import SCENES
from model_tools.training.starter.data.words import plural

pytestmark = pytest.mark.tools
ROOT = Path(__file__).parents[5]
FAMILIES = ROOT / "families" / "families.toml"
CONCEPTS = [
    Concept("1", "red apple", ("fruit", "health", "tasty"), 1.0, {"3d": 0, "flat": 0}),
    Concept("2", "cat", ("pet", "tail"), 1.0, {"3d": 1}),
    Concept("3", "cat with wry smile", ("pet", "fruit"), 0.06, {"flat": 1}),
]


@pytest.mark.parametrize(("style", "family"), [("3d", "realistic"), ("flat", "fantasy")])
def test_templates_are_the_families(style: str, family: str) -> None:
    assert TEMPLATES[style] in FAMILIES.read_text("utf-8")
    assert family in str(tomllib.loads(FAMILIES.read_text("utf-8")))


def test_a_name_means_the_concept_that_says_it_best() -> None:
    names = names_of(CONCEPTS)
    assert names["cat"] == 1
    assert names["apple"] == 0  # a synonym
    assert names["fruit"] == 0  # a tag of two: of the common one
    assert names["pet"] == 1


def test_every_caption_says_what_it_shows() -> None:
    entries = make_entries(CONCEPTS)
    assert len({entry.text for entry in entries}) == len(entries)
    assert {entry.concept for entry in entries} == {ANYTHING, NO_OBJECT, 0, 1, 2}
    known = {"0": ("apple", "fruit", "health", "tasty"), "1": ("cat", "pet", "tail")}
    for entry in entries:
        text = entry.text.lower()
        assert entry.style == "flat" if text.startswith("fantasy illustration,") else True
        if entry.concept in (0, 1):
            assert any(word[:4] in text for word in known[str(entry.concept)])
        if entry.colour:
            assert entry.colour in text
        if entry.scene and entry.layout == IN_SCENE:
            styles = [style for style, scene in STYLE_SCENES.items() if scene == entry.scene]
            assert any(word in text for word in (*SCENES[entry.scene].names, *SCENES[entry.scene].places, *styles))
        if entry.concept >= 0:
            assert entry.style in CONCEPTS[entry.concept].rows


def test_nothing_kept_for_a_measure_is_ever_a_caption() -> None:
    assert len(paraphrases()) == 100
    assert len(descriptions()) == len(people_prompts()) == 60
    kept = [*paraphrases(), *descriptions(), *people_prompts()]
    concepts = [
        Concept(str(place), text, (), 1.0, {"3d": 0, "flat": 0}) for place, text in enumerate((kept[0], kept[-1]))
    ]
    texts = {entry.text.lower() for entry in make_entries(concepts, described={0: kept})}
    for prompt in kept:
        for style in TEMPLATES:
            assert TEMPLATES[style].format(prompt=prompt).lower() not in texts
        assert prompt.lower() not in texts


def test_a_description_is_a_caption_of_the_concept_that_it_fits_best() -> None:
    entries = make_entries(CONCEPTS, described={1: ["a furry pet"], 2: ["a furry pet", "a sly look"]})
    found = {entry.text: entry for entry in entries if "a furry pet" in entry.text or "a sly look" in entry.text}
    assert {entry.concept for text, entry in found.items() if "pet" in text} == {1}
    assert {entry.style for text, entry in found.items() if "pet" in text} == {"3d"}
    assert {entry.concept for text, entry in found.items() if "sly" in text} == {2}
    assert TEMPLATES["3d"].format(prompt="a furry pet") in found
    assert "a furry pet" in found


def test_phrases_count_colour_and_place() -> None:
    random = np.random.default_rng(0)
    assert phrase("cat", "blue", None, "beach", random).count("blue cat") == 1
    for seed in range(10):
        text = phrase("cat", "blue", "three", None, np.random.default_rng(seed))
        assert "blue cats" in text
        assert "three" in text or "3" in text
    assert bare_of_colour("red apple") == "apple"
    assert bare_of_colour("cat") == "cat"
    assert all(bare_of_colour(colour) == colour for colour in COLOURS)


def test_plurals() -> None:
    words = ("cat", "bus", "cherry", "toy", "box", "mouse", "maple leaf", "tropical fish")
    assert [plural(word) for word in words] == [
        "cats", "buses", "cherries", "toys", "boxes", "mice", "maple leaves", "tropical fish"
    ]  # fmt: skip


def test_article() -> None:
    assert article("apple") == "an apple"
    assert article("dog") == "a dog"


def test_answers_of_the_paraphrases_are_lists_of_labels() -> None:
    raw = json.loads(
        (Path(__file__).parents[5] / "model_tools/training/starter/data/paraphrases.json").read_text("utf-8")
    )
    assert all(isinstance(labels, list) and labels for labels in raw.values())


PEOPLE = [
    Concept(str(place), label, (), 1.0, {"3d": place, "flat": place})
    for place, label in enumerate(("woman", "man", "woman astronaut", "astronaut", "prince", "person running"))
]


def test_people_are_captioned_in_clothes_scenes_and_styles() -> None:
    found = list(describe_people(PEOPLE, 2000, np.random.default_rng(0)))
    assert {PEOPLE[place].label for _, place, _, _ in found} == {concept.label for concept in PEOPLE}
    for text, place, layout, scene in found:
        assert layout == (IN_SCENE if scene else ALONE)
        if scene and not any(word in text for word in ("cyberpunk", "neon", "vaporwave")):
            assert any(spot in text for spot in SCENES[scene].places), text
        if PEOPLE[place].label == "woman":
            assert any(word in text for word in PERSONS["woman"]), text
    assert {scene for text, _, _, scene in found if "cyberpunk art" in text} >= {"city night"}


@pytest.mark.parametrize(
    ("person", "role", "label"),
    [
        ("woman", "astronaut", "woman astronaut"),
        ("man", "astronaut", "astronaut"),
        ("woman: bald", "running", "person running"),
        ("prince", "cook", "prince"),
    ],
)
def test_a_role_is_shown_by_the_nearest_picture_of_the_set(person: str, role: str, label: str) -> None:
    assert role_label(person, role, {concept.label: place for place, concept in enumerate(PEOPLE)}) == label
