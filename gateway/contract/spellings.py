"""Other spellings of the documented fields, from older pages and from callers, as the present ones."""

from collections.abc import Mapping

from gateway.contract.blocks import JsonObject

_PICTURE_STARTS = ("http://", "https://", "storage://", "base64,", "data:")


NAMES = ("remove_background", "background_url")
"""Fields of the request that only older pages have."""


def present(document: object) -> tuple[object, dict[str, str]]:
    """A request in the present spelling, and its present fields that the client sent as others, by their names there.

    What is given in both spellings counts in the present one.
    """
    sent_as: dict[str, str] = {}
    if not isinstance(document, Mapping):
        return document, sent_as
    found = dict(document)
    for spelling in (_remove_background, _background_url):
        spelling(found, sent_as)
    return found, sent_as


def _remove_background(document: JsonObject, sent_as: dict[str, str]) -> None:
    """`remove_background: {type, background}`, as older pages have it, or its type alone, or true."""
    name = NAMES[0]
    old = document.pop(name, None)
    if not old:
        return
    block = old if isinstance(old, Mapping) else {"type": old}
    kind, behind = block.get("type"), block.get("background")
    moved: JsonObject = {"remove": kind if isinstance(kind, str) and kind else "auto"}
    names = {"remove": f"{name}.type" if block is old else name}
    if isinstance(behind, str) and behind:
        field = "replace" if behind.strip().lower().startswith(_PICTURE_STARTS) else "color"
        moved[field], names[field] = behind, f"{name}.background"
    _under_background(document, moved, names, sent_as)


def _background_url(document: JsonObject, sent_as: dict[str, str]) -> None:
    """`background_url`, at the top, in `background` or in `background.generate`: the picture that goes behind."""
    name = NAMES[1]
    urls = {name: document.pop(name, None)}
    background = document.get("background")
    if isinstance(background, Mapping):
        background = dict(background)
        urls[f"background.{name}"] = background.pop(name, None)
        generate = background.get("generate")
        if isinstance(generate, Mapping) and generate.get(name):
            urls[f"background.generate.{name}"] = generate[name]
            background.pop("generate")  # the background is given: none is generated
        document["background"] = background
    for path, url in urls.items():
        if url:
            _under_background(document, {"replace": url}, {"replace": path}, sent_as)
            return


def _under_background(
    document: JsonObject, fields: JsonObject, names: Mapping[str, str], sent_as: dict[str, str]
) -> None:
    """Put fields into the block background, unless it has them."""
    background = document.get("background")
    if background is None or isinstance(background, Mapping):
        own = background or {}
        document["background"] = {**fields, **own}
        sent_as |= {f"background.{field}": name for field, name in names.items() if field not in own}
