"""What a dictionary says of the concepts: WordNet's definitions, as captions that describe and do not name.

Princeton WordNet (Fellbaum 1998), the files of its database as wndb(5WN) documents them. Which sense of a label is
meant is decided by the words that its definition, its synonyms and its hypernyms share with the concept's tags (Lesk
1986, doi:10.1145/318723.318728); where none does, it is the most frequent sense of a thing that can be seen.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from model_tools.training.pictures import Concept

# Lexicographer files of nouns that can be drawn: animals, artifacts, bodies, food, nature, persons, phenomena, plants.
VISIBLE = frozenset({5, 6, 8, 13, 17, 18, 19, 20})
LONGEST = 140
# Words that say nothing about which sense is meant.
COMMON = frozenset({
    "a", "an", "and", "are", "as", "at", "be", "by", "for", "from", "has", "in", "is", "it", "its", "of", "on", "or",
    "that", "the", "to", "used", "usually", "with",
})  # fmt: skip
# Of definitions of words that are not said of persons.
REMARKS = frozenset({"offensive", "derogatory", "disparaging", "slang", "ethnic", "slur"})
HYPERNYMS = frozenset({"@", "@i"})
SENSES = 4


@dataclass(frozen=True, slots=True)
class Sense:
    """A synset of nouns: its lexicographer file, its words, the offsets of its hypernyms, and its definition."""

    kind: int
    words: tuple[str, ...]
    hypernyms: tuple[int, ...]
    definition: str


class Dictionary:
    """The nouns of a WordNet database. `folder` holds index.noun and data.noun."""

    def __init__(self, folder: Path) -> None:
        self.data = (folder / "data.noun").read_bytes()
        self.index_file = folder / "index.noun"

    @cached_property
    def index(self) -> dict[str, tuple[int, ...]]:
        """Word or phrase, in lower case, to the offsets of its senses, the most frequent one first."""
        found = {}
        for line in self.index_file.read_text("utf-8").splitlines():
            if line.startswith(" "):  # the licence
                continue
            parts = line.split()
            found[parts[0].replace("_", " ")] = tuple(int(part) for part in parts[-int(parts[2]) :])
        return found

    def sense(self, offset: int) -> Sense:
        """The synset at an offset of data.noun."""
        line, _, gloss = self.data[offset : self.data.index(b"\n", offset)].decode().partition(" | ")
        fields = line.split()
        count = int(fields[3], 16)
        words = tuple(fields[4 + 2 * place].replace("_", " ") for place in range(count))
        pointers = fields[5 + 2 * count :]
        starts = range(0, 4 * int(fields[4 + 2 * count]), 4)
        above = tuple(int(pointers[place + 1]) for place in starts if pointers[place] in HYPERNYMS)
        return Sense(int(fields[1]), words, above, gloss.partition('; "')[0].strip())

    def describe(self, concept: Concept) -> list[str]:
        """Descriptions of a concept; none where its label is not a word of the dictionary, or none of a thing."""
        # Of what is drawn seldom, persons in many roles and signs, the last word says too little.
        texts = spellings(concept.label.lower(), shortened=concept.weight == 1.0)
        label = next((text for text in texts if text in self.index), "")
        senses = [sense for sense in map(self.sense, self.index.get(label, ())[:SENSES]) if sense.kind in VISIBLE]
        if not senses:
            return []
        tags = {word for tag in concept.tags for word in words_of(tag)} - set(words_of(label))
        return descriptions(max(senses, key=lambda sense: len(tags & self.about(sense))).definition)

    def about(self, sense: Sense) -> set[str]:
        """The words of a sense: those of its definition, its synonyms, and all that is above it."""
        text, above = [sense.definition, *sense.words], list(sense.hypernyms)
        while above:
            higher = self.sense(above.pop())
            text += higher.words
            above += higher.hypernyms
        return {word for part in text for word in words_of(part)}


def spellings(label: str, *, shortened: bool) -> Iterator[str]:
    """A label as a dictionary may have it: as it is, in the singular; if `shortened`, its last word as well."""
    for text in (label.removesuffix(" face"), *([label.rpartition(" ")[2]] if shortened else [])):
        yield from (text, text.removesuffix("s"), re.sub(r"ies$", "y", text))


def words_of(text: str) -> list[str]:
    """The words of a text that say something, in lower case."""
    return [word for word in re.findall(r"[a-z]+", text.lower()) if word not in COMMON]


def descriptions(definition: str) -> list[str]:
    """A definition as captions: without remarks in brackets, the whole of it and its first clause, if not too long."""
    plain = re.sub(r"\s+", " ", re.sub(r"\s*\([^)]*\)", "", definition)).strip(" ;,")
    first = plain.partition(";")[0].strip()
    if REMARKS & set(words_of(plain)):
        return []
    return [text for text in dict.fromkeys((plain, first)) if 8 < len(text) < LONGEST]
