"""Pictures and concepts, from packages to canvases."""

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the tools' environment: make test-tools")

from PIL import Image

from model_tools.training.pictures import collect, normalise
from model_tools.training.starter.data.canvas import ASPECT_SIZES, place

pytestmark = pytest.mark.tools


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    """The three packages, with one concept in both styles, one in one, one flag, and pictures without a label."""
    (tmp_path / "3d" / "assets").mkdir(parents=True)
    for code in ("1f34e", "2764-fe0f", "1f34e-1f3fb", "1f1e6"):
        Image.new("RGBA", (64, 64), (255, 0, 0, 255)).save(tmp_path / "3d" / "assets" / f"{code}.webp")
    (tmp_path / "flat").mkdir()
    (tmp_path / "flat" / "chars.json").write_text('{"1f34e": "apple"}', "utf-8")
    body = '<rect width="32" height="32" fill="#00ff00"/>'
    (tmp_path / "flat" / "icons.json").write_text(json.dumps({"icons": {"apple": {"body": body}}}), "utf-8")
    (tmp_path / "labels" / "en").mkdir(parents=True)
    entries = [
        {"hexcode": "1F34E", "label": "red apple", "tags": ["fruit"], "group": 4},
        {"hexcode": "2764", "label": "wavy dash", "group": 8},
        {"hexcode": "1F1E6", "label": "regional indicator A"},
        {"hexcode": "1F1E6-1F1E8", "label": "flag: Ascension Island", "group": 9},
    ]
    (tmp_path / "labels" / "en" / "data.json").write_text(json.dumps(entries), "utf-8")
    return {key: tmp_path / key for key in ("3d", "flat", "labels")}


def test_concepts_join_what_the_packages_say(folders: dict[str, Path]) -> None:
    concepts, pictures = collect(folders)
    assert [(concept.label, concept.rows) for concept in concepts] == [
        ("red apple", {"3d": 0, "flat": 0}),
        ("wavy dash", {"3d": 1}),
    ]
    assert concepts[0].weight > concepts[1].weight
    assert [len(pictures[style]) for style in ("3d", "flat")] == [2, 1]
    assert pictures["flat"][0].shape == (256, 256, 4)
    assert pictures["flat"][0][128, 128].tolist() == [0, 255, 0, 255]


def test_codes_are_compared_without_the_variation_selector() -> None:
    assert normalise("2764-FE0F-200D") == "2764-200d"


@pytest.mark.parametrize(("width", "height"), ASPECT_SIZES)
def test_every_canvas_shows_the_object_once_in_the_middle(width: int, height: int) -> None:
    picture = np.zeros((256, 256, 4), np.uint8)
    picture[..., 3] = 255
    canvas = place(picture, width, height)
    assert canvas.shape == (height, width, 3)
    assert width % 32 == height % 32 == 0
    assert canvas[height // 2, width // 2].tolist() == [0, 0, 0]
    assert canvas[0].min() == canvas[:, 0].min() == 255
    dark = np.argwhere(canvas[..., 0] < 128)
    (top, left), (bottom, right) = dark.min(0), dark.max(0)
    assert bottom - top == right - left
    assert abs((top + bottom) - (height - 1)) <= 1
    assert abs((left + right) - (width - 1)) <= 1
