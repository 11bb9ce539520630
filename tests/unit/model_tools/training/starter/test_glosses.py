"""Definitions as captions: of the sense that is meant, in words that fit a prompt.

The dictionary here is in WordNet's format, with offsets in bytes, and small.
"""

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs the tools' environment: make test-tools")

from model_tools.training.pictures import Concept
from model_tools.training.starter.data.glosses import Dictionary, descriptions

pytestmark = pytest.mark.tools
LICENCE = "  1 This software and database is being provided to you, the LICENSEE\n"
# Name: lexicographer file, words, hypernym, definition.
SYNSETS = {
    "animal": (5, ["animal"], None, "a living organism"),
    "bird": (5, ["bird"], "animal", "a warm-blooded vertebrate with feathers"),
    "crane_machine": (6, ["crane", "lifter"], None, 'lifts heavy objects; "a yellow crane"'),
    "crane_bird": (5, ["crane"], "bird", "large long-necked wading bird (of marshes); in many parts of the world"),
    "crane_poet": (7, ["crane"], None, "the quality of a poet who could not be drawn"),
    "cherry": (13, ["cherry"], None, "a red fruit with a single hard stone"),
    "oaf": (18, ["oaf"], None, "an offensive term for somebody"),
    "apple": (13, ["apple"], None, "fruit with red or yellow or green skin and sweet whitish flesh"),
}


def concept(label: str, *tags: str, weight: float = 1.0) -> Concept:
    return Concept("1", label, tags, weight, {"3d": 0})


@pytest.fixture
def dictionary(tmp_path: Path) -> Dictionary:
    data, offsets = LICENCE.encode(), dict[str, int]()
    for key, (kind, words, above, definition) in SYNSETS.items():
        offsets[key] = len(data)
        pointer = "000" if above is None else f"001 @ {offsets[above]:08d} n 0000"
        named = " ".join(f"{word} 0" for word in words)
        line = f"{offsets[key]:08d} {kind:02d} n {len(words):02x} {named} {pointer} | {definition}  \n"
        data += line.encode()
    senses = {"crane": ["crane_machine", "crane_bird", "crane_poet"]} | {
        key: [key] for key in ("bird", "cherry", "oaf")
    }
    senses["apple"] = ["apple"]
    index = [
        f"{word} n {len(keys)} 1 @ {len(keys)} 0 {' '.join(f'{offsets[key]:08d}' for key in keys)}  \n"
        for word, keys in senses.items()
    ]
    (tmp_path / "data.noun").write_bytes(data)
    (tmp_path / "index.noun").write_text(LICENCE + "".join(index), "utf-8")
    return Dictionary(tmp_path)


def test_the_tags_tell_which_sense_is_meant(dictionary: Dictionary) -> None:
    assert dictionary.describe(concept("crane", "animal", "legs"))[0].startswith("large long-necked wading bird")
    assert dictionary.describe(concept("crane", "heavy", "yellow")) == ["lifts heavy objects"]


def test_the_first_sense_of_something_visible_where_no_tag_helps(dictionary: Dictionary) -> None:
    assert dictionary.describe(concept("Crane")) == ["lifts heavy objects"]


def test_labels_are_looked_up_in_the_singular_and_by_their_last_word(dictionary: Dictionary) -> None:
    assert dictionary.describe(concept("cherries")) == ["a red fruit with a single hard stone"]
    assert dictionary.describe(concept("red apple"))[0].startswith("fruit with red")
    assert dictionary.describe(concept("person eating apple", weight=0.06)) == []
    assert dictionary.describe(concept("teapot")) == []


def test_words_that_are_not_said_of_persons_describe_nobody(dictionary: Dictionary) -> None:
    assert dictionary.describe(concept("oaf")) == []


def test_remarks_in_brackets_go_and_the_first_clause_is_a_caption_too() -> None:
    assert descriptions("a small pet (of many homes); has a tail") == ["a small pet; has a tail", "a small pet"]
    assert descriptions("short") == []
    assert descriptions("x" * 200 + "; a thing that is short enough") == []
