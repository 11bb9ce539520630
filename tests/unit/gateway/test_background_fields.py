"""The background of what was made: with every task but the one that makes a background."""

from typing import Any

import pytest

from gateway.errors import BadRequestError
from gateway.translate.tasks import ADAPTERS
from imagegen.v1 import generation_pb2 as pb
from tests.unit.gateway.asking import IMAGE, URL, edited, from_picture, from_text


@pytest.mark.parametrize("adapter", [*sorted({*ADAPTERS} - {"generate_background"}), "text", "edit", "outpainting"])
def test_the_background_goes_with_every_task(adapter: str) -> None:
    asked = {"remove": "human", "color": "#0f0", "replace": URL}
    if adapter == "text":
        found = from_text(background=asked)
    elif adapter == "edit":
        found = edited(background=asked)
    elif adapter == "outpainting":
        found = edited(background=asked, fit={"canvas": "outpainting"})
    else:
        found = from_picture(adapter, background=asked)
    assert found.background == pb.Background(remove=pb.REMOVAL_HUMAN, color=pb.Color(rgba=0x00FF00FF), replace=IMAGE)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"remove": "auto"}, pb.Background(remove=pb.REMOVAL_AUTO)),
        ({"remove": "Item"}, pb.Background(remove=pb.REMOVAL_ITEM)),
        ({"remove": "v2"}, pb.Background(remove=pb.REMOVAL_AUTO)),
        ({"remove": True}, pb.Background(remove=pb.REMOVAL_AUTO)),
        ({"remove": False, "color": "auto"}, pb.Background(color=pb.Color(auto=True))),
        ({"color": "auto"}, pb.Background(color=pb.Color(auto=True))),
        ({"color": "transparent"}, pb.Background(color=pb.Color(rgba=0))),
        ({"replace": "base64,QUJD"}, pb.Background(remove=pb.REMOVAL_AUTO, replace=pb.ImageSource(data=b"ABC"))),
        ({"replace": URL, "remove": "item"}, pb.Background(remove=pb.REMOVAL_ITEM, replace=IMAGE)),
    ],
)
def test_a_background(asked: dict[str, Any], expected: pb.Background) -> None:
    assert edited(background=asked).background == expected


def test_a_generated_background_takes_the_place_of_the_removed_one() -> None:
    assert from_picture(background={"remove": "auto"}) == from_picture()
    assert from_picture(background={"color": "red"}).background == pb.Background(color=pb.Color(rgba=0xFF0000FF))


@pytest.mark.parametrize("asked", [{"remove": "human"}, {"remove": "item"}, {"remove": "v2"}, {"replace": URL}])
def test_a_generated_background_leaves_no_other(asked: dict[str, Any]) -> None:
    assert from_picture(background=asked) == from_picture()


@pytest.mark.parametrize(
    ("prompt", "kept"),
    [
        (None, pb.REMOVAL_AUTO),
        ("the main subject", pb.REMOVAL_AUTO),
        ("Keep the woman and the children", pb.REMOVAL_HUMAN),
        ("both persons", pb.REMOVAL_HUMAN),
        ("the bottle and the box", pb.REMOVAL_ITEM),
        ("the girl with her bicycle", pb.REMOVAL_AUTO),
    ],
)
def test_a_prompt_says_what_stays(prompt: str | None, kept: pb.Removal.ValueType) -> None:
    assert edited(background={"remove": "generative", "prompt": prompt}).background == pb.Background(remove=kept)


def test_a_prompt_without_generative_removal_changes_nothing() -> None:
    assert edited(background={"remove": "auto", "prompt": "the woman"}) == edited(background={"remove": "auto"})


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"remove": "everything"}, "remove"),
        ({"remove": 5}, "remove"),
        ({"color": "nocolour"}, "color"),
        ({"color": [1, 2, 3]}, "color"),
        ({"replace": "file:///a.png"}, "replace"),
    ],
)
def test_a_wrong_background_is_named(asked: dict[str, Any], field: str) -> None:
    with pytest.raises(BadRequestError, match=rf"^background\.{field} (must|names)"):
        edited(background=asked)
