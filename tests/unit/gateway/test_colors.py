"""Colours in every notation of the documents, and what is not one."""

import colorsys
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.contract import colors
from gateway.errors import BadRequestError
from imagegen.v1 import generation_pb2 as pb


@pytest.mark.parametrize(
    ("text", "rgba"),
    [
        ("#fff", 0xFFFFFFFF),
        ("#f80", 0xFF8800FF),
        ("#f80c", 0xFF8800CC),
        ("#FF8000", 0xFF8000FF),
        ("#ff800080", 0xFF800080),
        ("transparent", 0x00000000),
        ("rgb(255,128,0)", 0xFF8000FF),
        ("rgb( 255 , 128 , 0 )", 0xFF8000FF),
        ("RGB(100%, 50%, 0%)", 0xFF8000FF),
        ("rgba(255, 128, 0, 1)", 0xFF8000FF),
        ("rgba(255, 128, 0, 0.5)", 0xFF800080),
        ("rgba(255, 128, 0, .5)", 0xFF800080),
        ("rgba(255, 128, 0, 50%)", 0xFF800080),
        ("hsl(0, 100%, 50%)", 0xFF0000FF),
        ("hsl(120, 100%, 25%)", 0x008000FF),
        ("hsl(120deg, 100%, 25%)", 0x008000FF),
        ("hsl(360, 100%, 50%)", 0xFF0000FF),
        ("hsl(240, 50%, 75%)", 0x9F9FDFFF),
        ("hsla(240, 100%, 50%, 0)", 0x0000FF00),
        ("hsv(0, 0%, 100%)", 0xFFFFFFFF),
        ("hsv(30, 100%, 100%)", 0xFF8000FF),
        ("hsva(30, 100%, 100%, 0.2)", 0xFF800033),
        ("rgb(255 128 0)", 0xFF8000FF),
        ("rgb(255 128 0 / 50%)", 0xFF800080),
        ("rgba(100% 50% 0%/.5)", 0xFF800080),
        ("hsl(120deg 100% 25% / 1)", 0x008000FF),
        (" White ", 0xFFFFFFFF),
        ("cornflowerblue", 0x6495EDFF),
        ("rebeccapurple", 0x663399FF),
        ("grey", 0x808080FF),
        ("gray", 0x808080FF),
    ],
)
def test_every_notation(text: str, rgba: int) -> None:
    assert colors.parse(text, "color") == pb.Color(rgba=rgba)


def test_a_colour_may_be_left_to_the_picture() -> None:
    assert colors.parse("Auto", "color") == pb.Color(auto=True)


def test_channels() -> None:
    assert colors.parse((217.0, 179.0, 190.0), "color") == pb.Color(rgba=0xD9B3BEFF)
    assert colors.parse((0.0, 127.5, 255.0), "color") == pb.Color(rgba=0x0080FFFF)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "#",
        "#ff",
        "#fffff",
        "#fffffffff",
        "#ggg",
        "ffffff",
        "0xffffff",
        "rgb(256,0,0)",
        "rgb(1,2)",
        "rgb(1,2,3,4)",
        "rgb(1,2,3",
        "rgb(-1,0,0)",
        "rgb(100%,0,0)",
        "rgb(101%,0%,0%)",
        "rgb(nan,0,0)",
        "rgb(1e1,0,0)",
        "rgb(١,0,0)",
        "rgba(1,2,3)",
        "rgba(0,0,0,1.5)",
        "rgba(0,0,0,255)",
        "hsl(361,0%,0%)",
        "hsl(0,1,1)",
        "hsv(0,0%,101%)",
        "cmyk(0,0,0,0)",
        "nocolour",
        "currentcolor",
        "rgb(1 2)",
        "rgb(1 2 3 4)",
        "rgb(1 2 3 /)",
        "rgb(1 2 3 / 1.5)",
        "rgb(1, 2 3)",
        "rgb(1 2 3 / 1 / 1)",
        "rgb(256 0 0)",
        "rgb(" + "9" * 5000 + ",0,0)",
        (256.0, 0.0, 0.0),
        (-1.0, 0.0, 0.0),
    ],
)
def test_what_is_not_a_colour_is_named(value: str | tuple[float, ...]) -> None:
    with pytest.raises(BadRequestError, match=r"^background\.color must ") as caught:
        colors.parse(value, "background.color")
    assert len(caught.value.body["message"]) < 200


@given(st.text(alphabet=string.ascii_lowercase + string.digits + "#(),.% -", max_size=30) | st.text(max_size=30))
def test_any_text_is_a_colour_or_a_bad_request(text: str) -> None:
    try:
        found = colors.parse(text, "color")
    except BadRequestError:
        return
    assert found.auto or found.HasField("rgba")


@given(st.integers(0, 360), st.integers(0, 100), st.integers(0, 100))
def test_hues_are_those_of_colorsys(hue: int, saturation: int, lightness: int) -> None:
    shares = colorsys.hls_to_rgb(hue / 360, lightness / 100, saturation / 100)
    expected = [round(share * 255) for share in shares]
    found = colors.parse(f"hsl({hue}, {saturation}%, {lightness}%)", "color").rgba.to_bytes(4, "big")
    assert found[3] == 255
    assert max(abs(a - b) for a, b in zip(found, expected, strict=False)) <= 1  # halves are rounded another way


@pytest.mark.parametrize(
    ("text", "clear"), [("transparent", True), ("#12345600", True), ("#fff", False), ("auto", False)]
)
def test_is_clear(text: str, clear: bool) -> None:
    assert colors.is_clear(colors.parse(text, "color")) is clear
