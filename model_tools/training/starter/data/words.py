"""What people call things beyond the set's own labels, and phrases around them: data for the captions."""

import json
from importlib.resources import files
from typing import Any


def packaged(name: str) -> Any:  # noqa: ANN401 -- whatever the file holds
    """What a JSON file of this package holds."""
    return json.loads(files(__package__).joinpath(name).read_text("utf-8"))


# Everyday words to labels of the set.
SYNONYMS: dict[str, str] = packaged("synonyms.json")

# {x} is a thing without an article.
PLAIN = (
    "{x}",
    "a {x}",
    "{x} on a white background",
    "photo of a {x}",
    "picture of a {x}",
    "one {x}",
    "a single {x}",
    "drawing of a {x}",
    "a cute {x}",
    "a beautiful {x}",
    "a small {x}",
    "a big {x}",
    "a shiny {x}",
    "an illustration of a {x}",
    "close-up of a {x}",
    "3d render of a {x}",
    "a nice {x}",
    "the {x}",
    "an old {x}",
    "a new {x}",
    "a happy {x}",
)
# Before a description.
SHOWN = ("picture of", "photo of", "drawing of", "an image of", "illustration of")
# How something is called that is not named: the product of an advertiser, whose background is asked for.
UNTOLD = ("item", "an item", "product", "a product", "the product", "object", "an object", "empty scene", "standing")
SCENIC = (
    "{x}",
    "a {x}",
    "{x} background",
    "background of a {x}",
    "view of a {x}",
    "a beautiful {x}",
    "{x} scene",
    "{x} landscape",
    "photo of a {x}",
    "the {x}",
)
# {x} as above, {p} a place ("on the beach"), {n} a scene's name.
PLACED = (
    "{x} {p}",
    "a {x} {p}",
    "a {x} standing {p}",
    "{x}, {n} background",
    "a {x} with a {n} in the background",
    "a {x}, {n}",
)
# {s} is a plural.
COUNTED = ("{c} {s}", "{c} {s} side by side", "{c} cute {s}", "picture of {c} {s}", "{c} {s} on a white background")
NOTHING = (
    "",
    "low quality",
    "blurry",
    "ugly, deformed",
    "blurry, low quality",
    "bad anatomy, extra limbs",
    "watermark, text",
    "worst quality, jpeg artifacts",
    "distorted, noise",
    "high quality, highly detailed, 8K",
    "fantasy illustration",
    "fantasy illustration, high quality, highly detailed, 8K",
    "nothing",
    "lowres, bad hands",
    "cropped, out of frame",
)
IRREGULAR = {
    "mouse": "mice",
    "fish": "fish",
    "sheep": "sheep",
    "person": "people",
    "man": "men",
    "woman": "women",
    "child": "children",
    "leaf": "leaves",
    "wolf": "wolves",
    "knife": "knives",
    "tropical fish": "tropical fish",
}
DIGITS = {"two": "2", "three": "3", "four": "4"}


def plural(noun: str) -> str:
    """The plural of a noun or of the last word of a phrase."""
    head, _, last = noun.rpartition(" ")
    lead = f"{head} " if head else ""
    if last in IRREGULAR:
        return lead + IRREGULAR[last]
    if last.endswith(("s", "x", "ch", "sh", "z")):
        return f"{noun}es"
    if last.endswith("y") and last[-2:-1] not in {"a", "e", "i", "o", "u"}:
        return f"{noun[:-1]}ies"
    return f"{noun}s"


def with_article(phrase: str) -> str:
    """'a' becomes 'an' before a vowel."""
    words = phrase.split(" ")
    for place, word in enumerate(words[:-1]):
        if word == "a" and words[place + 1][:1].lower() in "aeiou":
            words[place] = "an"
    return " ".join(words)
