"""Colours as clients write them: "#ff8000", "transparent", "rgb(255, 128, 0)", "hsl(30, 100%, 50%)", "orange".

Functions follow CSS Color 3: hues in degrees, shares in percent, opacity from 0 to 1 or in percent; hsv() is the same
with a value in place of the lightness (Smith 1978, as `colorsys` has it). CSS Color 4's notation without commas,
"rgb(255 128 0 / 50%)", is read too. Names are the 148 of CSS, which contain HTML's. Upper and lower case are the same.
"""

import colorsys
import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from tinycss2.color4 import Color, parse_color  # type: ignore[import-untyped]  # without type hints

from gateway.errors import BadRequestError
from imagegen.v1 import generation_pb2 as pb

Unit = tuple[float, float, float]  # red, green, blue, from 0 to 1

_HEX = re.compile(r"#(?:[0-9a-f]{3,4}|[0-9a-f]{6}|[0-9a-f]{8})")
_FUNCTION = re.compile(r"(rgb|hsl|hsv)(a?)\(([^()]{1,80})\)")
_NUMBER = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})?|\.[0-9]{1,9}")
_KINDS = 'auto, transparent, "#rrggbb", "#rrggbbaa", rgb(), rgba(), hsl(), hsv() or a name of HTML'


def parse(value: str | Sequence[float], field: str) -> pb.Color:
    """Read a colour: text, or red, green and blue from 0 to 255.

    Raises:
        BadRequestError: it is not one; the message names the field.
    """
    if not isinstance(value, str):
        if not all(0 <= channel <= 255 for channel in value):
            raise BadRequestError(f"{field} must have red, green and blue from 0 to 255")
        red, green, blue = value
        return _color((red / 255, green / 255, blue / 255))
    text = value.strip().lower()
    if text == "auto":
        return pb.Color(auto=True)
    try:
        return _written(text)
    except ValueError:
        raise BadRequestError(f"{field} must be {_KINDS}") from None


def is_clear(color: pb.Color) -> bool:
    """Whether nothing is seen of it."""
    return not color.auto and color.rgba & 0xFF == 0


def _written(text: str) -> pb.Color:
    """A colour other than auto. Raises ValueError if it is not one."""
    if text == "transparent":
        return pb.Color(rgba=0)
    if _HEX.fullmatch(text):
        digits = text[1:] if len(text) > 5 else "".join(digit * 2 for digit in text[1:])
        return pb.Color(rgba=int(digits.ljust(8, "f"), 16))
    if found := _FUNCTION.fullmatch(text):
        return _called(found[1], found[3], with_alpha=bool(found[2]))
    named = parse_color(text) if text.isalpha() else None
    if not isinstance(named, Color):  # "currentcolor" is text
        raise ValueError(text)  # noqa: TRY004  # of what is asked for
    red, green, blue = named.coordinates
    return _color((red, green, blue))


def _called(name: str, arguments: str, *, with_alpha: bool) -> pb.Color:
    """The colour of a function: rgb, hsl or hsv, with opacity where it ends in "a" or where a "/" comes before it."""
    if "," in arguments:
        words = [word.strip() for word in arguments.split(",")]
    else:
        channels, slash, opacity = arguments.partition("/")
        words, with_alpha = [*channels.split(), *([opacity.strip()] if slash else [])], bool(slash)
    if len(words) != 3 + with_alpha:
        raise ValueError(arguments)
    first, second, third = words[:3]
    alpha = _opacity(words[3]) if with_alpha else 1.0
    return _color(_FUNCTIONS[name](first, second, third), alpha)


def _rgb(red: str, green: str, blue: str) -> Unit:
    """Channels from 0 to 255, or all three in percent."""
    if red.endswith("%"):
        return _share(red), _share(green), _share(blue)
    return _number(red, 255) / 255, _number(green, 255) / 255, _number(blue, 255) / 255


def _hsl(hue: str, saturation: str, lightness: str) -> Unit:
    return colorsys.hls_to_rgb(_turn(hue), _share(lightness), _share(saturation))


def _hsv(hue: str, saturation: str, value: str) -> Unit:
    return colorsys.hsv_to_rgb(_turn(hue), _share(saturation), _share(value))


_FUNCTIONS: Mapping[str, Callable[[str, str, str], Unit]] = MappingProxyType({"rgb": _rgb, "hsl": _hsl, "hsv": _hsv})


def _turn(text: str) -> float:
    """A hue in degrees, 0 to 360, as a share of the turn."""
    return _number(text.removesuffix("deg"), 360) / 360


def _share(text: str) -> float:
    """A percentage, 0 to 100, as a share."""
    if not text.endswith("%"):
        raise ValueError(text)
    return _number(text[:-1], 100) / 100


def _opacity(text: str) -> float:
    return _share(text) if text.endswith("%") else _number(text, 1)


def _number(text: str, most: float) -> float:
    """A number from 0 to most. Raises ValueError if it is not one."""
    if not _NUMBER.fullmatch(text.strip()) or float(text) > most:
        raise ValueError(text)
    return float(text)


def _color(channels: Unit, alpha: float = 1.0) -> pb.Color:
    """Round to 8 bits, halves up."""
    return pb.Color(rgba=int.from_bytes(bytes(int(share * 255 + 0.5) for share in (*channels, alpha)), "big"))
