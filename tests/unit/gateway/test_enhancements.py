"""Enhancements with their parameters, captions and paper: from JSON to proto."""

from typing import Any

import pytest

from gateway.contract import request as contract
from gateway.errors import BadRequestError
from gateway.translate import enhancements, paper
from imagegen.v1 import generation_pb2 as pb
from tests.unit.gateway.asking import IMAGE, URL, edited, from_text, warnings

KINDS = list(enhancements.KINDS)


@pytest.mark.parametrize("name", KINDS)
def test_each_enhancement_by_its_name(name: str) -> None:
    """The documented list, in whatever case; twice is once."""
    (made,) = edited(enhancements=[name.upper(), f" {name} "]).enhancements
    assert made == pb.Enhancement(kind=enhancements.KINDS[name])
    assert pb.EnhancementKind.Name(made.kind) == f"ENHANCEMENT_KIND_{name.upper()}"


@pytest.mark.parametrize("name", KINDS)
def test_levels(name: str) -> None:
    block = {f"{name}_parameters": {"level": "0.25", "unheard_of": 1}}
    assert edited(enhancements=[name], **block).enhancements[0].level == 0.25
    other = "clean" if name != "clean" else "light"
    assert edited(enhancements=[other], **block) == edited(enhancements=[other])  # acts only if it is listed


@pytest.mark.parametrize(
    ("name", "types"),
    [
        ("denoise", ["v1", "v2"]),
        ("deblur", ["v1", "v2"]),
        ("light", ["contrast", "hdr_light", "hdr_light_advanced"]),
        ("color", ["contrast", "hdr_light", "hdr_light_advanced"]),
        ("face_enhance", ["beautify-real", "beautify"]),
    ],
)
def test_types(name: str, types: list[str]) -> None:
    for word in types:
        (made,) = edited(enhancements=[name], **{f"{name}_parameters": {"type": word.upper()}}).enhancements
        expected = word.upper().replace("-", "_")
        assert pb.EnhancementMethod.Name(made.method) == f"ENHANCEMENT_METHOD_{expected}"
    with pytest.raises(BadRequestError, match=rf"^{name}_parameters\.type must be one of {types[0]}, "):
        edited(enhancements=[name], **{f"{name}_parameters": {"type": "v3"}})


def test_smoothing() -> None:
    block = {"type": "beautify", "level": 1, "smoothing_level": 0.1}
    (made,) = edited(enhancements=["face_enhance"], face_enhance_parameters=block).enhancements
    assert (made.level, made.smoothing) == (1, 0.1)


def test_what_has_one_way_only_ignores_a_type() -> None:
    block = {"type": "v9", "level": 1}
    (made,) = edited(enhancements=["white_balance"], white_balance_parameters=block).enhancements
    assert not made.HasField("method")


def test_the_order_is_the_clients() -> None:
    assert [each.kind for each in edited(enhancements=KINDS).enhancements] == list(enhancements.KINDS.values())


def test_what_is_not_an_enhancement_is_named() -> None:
    with pytest.raises(BadRequestError, match=r"^enhancements must be among denoise, deblur, .*, not 'shiny'$"):
        edited(enhancements=["light", "shiny"])
    for wrong in ([1], {"light": True}):
        with pytest.raises(BadRequestError, match=r"^enhancements"):
            edited(enhancements=wrong)
    with pytest.raises(BadRequestError, match=r"^light_parameters\.level must be a number"):
        edited(enhancements=["light"], light_parameters={"level": "much"})


def test_words_may_be_one_text() -> None:
    assert edited(enhancements="light, denoise") == edited(enhancements=["light", "denoise"])


def test_text_alone_has_faces_and_nothing_else_to_make_better() -> None:
    assert from_text(enhancements=["face_enhance"]).enhancements[0].kind == pb.ENHANCEMENT_KIND_FACE_ENHANCE
    for name in KINDS:
        if name != "face_enhance":
            assert from_text(enhancements=[name]) == from_text()
            document = {"enhancements": [name], "background": {"generate": {"description": "a fox"}}}
            assert warnings(document) == (f"enhancements {name} is not used: it works with a picture (url)",)


# --- captions


def caption(**fields: Any) -> pb.Caption:
    return edited(caption={"url": URL, **fields}).caption


def test_the_documented_caption() -> None:
    found = caption(position="RB", target_width_percentage=25, padding=20, opacity=85)
    assert found == pb.Caption(
        image=IMAGE,
        horizontal=pb.HORIZONTAL_PLACE_RIGHT,
        vertical=pb.VERTICAL_PLACE_BOTTOM,
        width_share=0.25,
        padding_pixels=20,
        opacity=0.85,
    )


def test_a_bare_caption_leaves_its_defaults_open() -> None:
    assert caption() == pb.Caption(image=IMAGE)
    assert not edited(caption={"url": None, "position": ""}).HasField("caption")
    assert not edited(caption={}).HasField("caption")


@pytest.mark.parametrize("position", ["LT", "MT", "RT", "ML", "MM", "MR", "BL", "BM", "BR", "lt", " Tl ", "CC", "CT"])
def test_positions(position: str) -> None:
    found = caption(position=position)
    letters = position.strip().upper().replace("C", "M")
    across = {"L": "LEFT", "R": "RIGHT"}.get(next((each for each in letters if each in "LR"), ""), "CENTER")
    down = {"T": "TOP", "B": "BOTTOM"}.get(next((each for each in letters if each in "TB"), ""), "CENTER")
    assert pb.HorizontalPlace.Name(found.horizontal) == f"HORIZONTAL_PLACE_{across}"
    assert pb.VerticalPlace.Name(found.vertical) == f"VERTICAL_PLACE_{down}"


@pytest.mark.parametrize("position", ["L", "LR", "TB", "LTB", "left top", "XX", "R", "LL"])
def test_what_is_not_a_position(position: str) -> None:
    with pytest.raises(BadRequestError, match=r"^caption\.position must be two letters"):
        caption(position=position)


def test_padding_and_numbers_of_a_caption() -> None:
    assert caption(padding="7.5%").padding_share == 0.075
    assert caption(padding=0).HasField("padding_pixels")
    assert caption(target_width_percentage="100").width_share == 1
    assert caption(opacity=0).HasField("opacity")
    for field, wrong in [("target_width_percentage", 101), ("target_width_percentage", -1), ("opacity", 100.5)]:
        with pytest.raises(BadRequestError, match=rf"^caption\.{field} must be from 0 to 100, not "):
            caption(**{field: wrong})
    with pytest.raises(BadRequestError, match=r"^caption\.target_width_percentage must be above 0$"):
        caption(target_width_percentage=0)
    with pytest.raises(BadRequestError, match=r"^caption\.padding must be a whole number of pixels"):
        caption(padding="wide")


def test_a_caption_without_a_picture_is_refused() -> None:
    with pytest.raises(BadRequestError, match=r"^caption\.url is required"):
        edited(caption={"position": "LT"})
    with pytest.raises(BadRequestError, match=r"^caption\.url must be an http or https URL"):
        edited(caption={"url": "file:///etc/passwd"})
    with pytest.raises(BadRequestError, match=r"^caption must be a JSON object"):
        edited(caption="a logo")


def test_text_alone_may_have_a_caption() -> None:
    assert from_text(caption={"url": "base64,QUJD"}).caption.image.data == b"ABC"


# --- paper


@pytest.mark.parametrize(
    ("name", "dpi", "size"),
    [
        ("a4", None, (2480, 3508)),
        ("A4", 300, (2480, 3508)),
        ("a3", 200, (2339, 3307)),
        ("a0", 300, (9933, 14043)),
        ("b0", 300, (11811, 16701)),
        ("a6", 300, (1240, 1748)),
        ("b5", 150, (1039, 1476)),
        ("c6", 100, (449, 638)),
        ("letter", 300, (2550, 3300)),
        ("ledger", 100, (1700, 1100)),
        ("11x17", 200, (2200, 3400)),
        ("arche", 80, (2880, 3840)),
    ],
)
def test_paper_in_pixels(name: str, dpi: int | None, size: tuple[int, int]) -> None:
    made = edited(print_size=name, dpi=dpi)
    assert (made.size.width, made.size.height, made.size.reorient) == (*size, True)
    assert made.output.dpi == (dpi or 300)


def test_every_documented_paper_is_known() -> None:
    series = {f"{letter}{number}" for letter in "abc" for number in range(11)}
    extra = {"a2extra", "a3extra", "a3super", "supera3", "a4extra", "a4super", "supera4", "a4long", "a5extra"}
    american = {"letter", "legal", "executive", "tabloid", "statement", "halfletter", "folio", "flsa", "flse", "note"}
    more = {"sob5extra", "11x17", "10x14", "juniorlegal", "memo", "governmentletter", "governmentlegal", "ledger"}
    architects = {f"arch{name}" for name in ("1", "2", "3", "4", "5", "6", "a", "b", "c", "d", "e", "e1", "e2", "e3")}
    assert paper.SIZES.keys() == series | extra | american | more | architects
    for name, (width, height) in paper.SIZES.items():
        assert 20 < width < 1500, name
        assert (width < height) is (name != "ledger"), name
    assert (paper.SIZES["a10"], paper.SIZES["c7"]) == ((26, 37), (81, 114))


def test_a_page_is_turned_only_with_a_picture_and_unless_asked() -> None:
    assert not edited(print_size="a6", print_reorientation=False).size.HasField("reorient")
    assert not from_text(print_size="a6").size.HasField("reorient")


def test_dpi_and_reorientation_alone_change_nothing() -> None:
    """Generated clients send both with every request."""
    assert edited(dpi=300, print_reorientation=True) == edited()
    assert edited(dpi=72, print_reorientation=False) == edited()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"print_size": "a11"}, "print_size must be one of a0, "),
        ({"print_size": "a6", "dpi": 0}, "dpi must be from 1 to 2400, not 0"),
        ({"print_size": "a6", "dpi": 2401}, "dpi must be from 1 to 2400, not 2401"),
        ({"print_size": 4}, "print_size must be text"),
    ],
)
def test_what_is_wrong_with_paper(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        edited(**fields)
    assert str(caught.value).startswith(said)


# --- what is ours


def test_previews_are_asked_for_in_a_block_of_our_own() -> None:
    assert edited(imagegen={"preview_interval": 3, "unheard_of": 1}).preview_interval == 3
    assert not edited(imagegen={}).HasField("preview_interval")
    with pytest.raises(BadRequestError, match=r"^imagegen\.preview_interval must be a whole number"):
        edited(imagegen={"preview_interval": -1})
    assert contract.parse({"imagegen": None}).imagegen is None


def test_paper_says_the_size() -> None:
    assert edited(print_size="a6", width=100, height="50%") == edited(print_size="a6")
