"""Persons in all skin tones: more pictures of the set, so that an image prompt carries what the caption leaves open."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model_tools.training.paths import Workspace
from model_tools.training.pictures import (
    STYLES,
    Concept,
    fetch,
    load_concepts,
    load_webp,
    read_3d,
    read_flat,
    read_labels,
    render_svg,
)

TONES = ("1f3fb", "1f3fc", "1f3fd", "1f3fe", "1f3ff")
MAN, WOMAN, PERSON = "1f468", "1f469", "1f9d1"
MALE, FEMALE, JOINER = "2642", "2640", "200d"
# Subgroups of emojibase: smileys and animals' faces; persons, their gestures, roles and fantasies.
FACES, PERSONS = range(14), range(23, 28)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who is to be seen: man, woman or neither; and the skin tone's code, empty for yellow."""

    gender: str
    tone: str


def identity(code: str) -> Identity:
    """Read off an emoji's code points."""
    parts = code.split("-")
    tone = next((part for part in parts if part in TONES), "")
    if MAN in parts or MALE in parts or "1f466" in parts or "1f474" in parts:
        return Identity("man", tone)
    if WOMAN in parts or FEMALE in parts or "1f467" in parts or "1f475" in parts:
        return Identity("woman", tone)
    return Identity("person", tone)


def read_kinds(workspace: Workspace) -> dict[str, str]:
    """Code to "face" or "person", of the concepts that are one. Persons are seen alone, from the chest or whole."""
    entries = read_labels(fetch(workspace)["labels"])
    groups = {code: entry.get("subgroup", -1) for code, entry in entries.items()}
    faces = {code: "face" for code, group in groups.items() if group in FACES}
    return faces | {code: "person" for code, group in groups.items() if group in PERSONS}


def without_tone(code: str) -> str:
    """The code of the same person in yellow."""
    return "-".join(part for part in code.split("-") if part not in TONES)


def neutral(code: str) -> str:
    """The code of the same role for no gender in particular: an astronaut for a woman astronaut."""
    parts = [PERSON if part in {MAN, WOMAN} else part for part in code.split("-")]
    while len(parts) > 1 and parts[-1] in {MALE, FEMALE, JOINER}:
        parts.pop()
    return "-".join(parts)


def toned_codes(codes: dict[str, Path] | dict[str, str], concepts: list[Concept]) -> list[str]:
    """Those of a style's codes that show one of the concepts in one skin tone, sorted."""
    known = {concept.code for concept in concepts}
    once = (code for code in codes if sum(part in TONES for part in code.split("-")) == 1)
    return sorted(code for code in once if without_tone(code) in known)


def load_persons(workspace: Workspace) -> dict[str, tuple[list[str], NDArray[np.uint8]]]:
    """For each style the codes of its persons with a skin tone and their pictures, uint8 RGBA [N, 256, 256, 4].

    Made at the first call and kept in the workspace. Raises subprocess.CalledProcessError when npm cannot get the set.
    """
    made: dict[str, tuple[list[str], NDArray[np.uint8]]] = {}
    for style in STYLES:
        codes, pictures = workspace.root / f"persons_{style}.json", workspace.root / f"persons_{style}.npy"
        if not codes.exists():
            own, images = draw_persons(workspace, style)
            np.save(pictures, images)
            codes.write_text(json.dumps(own), "utf-8")
        made[style] = (json.loads(codes.read_text("utf-8")), np.load(pictures, mmap_mode="r"))
    return made


def draw_persons(workspace: Workspace, style: str) -> tuple[list[str], NDArray[np.uint8]]:
    """Codes and pictures of one style, out of the npm packages."""
    folders, concepts = fetch(workspace), load_concepts(workspace)
    if style == "3d":
        files = read_3d(folders["3d"])
        codes = toned_codes(files, concepts)
        return codes, np.stack([load_webp(files[code]) for code in codes])
    drawings = read_flat(folders["flat"])
    codes = toned_codes(drawings, concepts)
    return codes, np.stack([render_svg(drawings[code]) for code in codes])
