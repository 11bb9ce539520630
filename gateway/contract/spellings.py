"""Other spellings of the documented fields, from older pages and from callers, as the present ones."""

from collections.abc import Mapping

from gateway.contract.blocks import JsonObject

_PICTURE_STARTS = ("http://", "https://", "storage://", "base64,", "data:")


def present(document: object) -> object:
    """A request in the present spelling. What is given in both spellings counts in the present one."""
    if not isinstance(document, Mapping):
        return document
    found = dict(document)
    for spelling in (_remove_background, _background_url):
        spelling(found)
    return found


def _remove_background(document: JsonObject) -> None:
    """`remove_background: {type, background}`, as older pages have it, or its type alone, or true."""
    old = document.pop("remove_background", None)
    if not old:
        return
    block = old if isinstance(old, Mapping) else {"type": old}
    kind, behind = block.get("type"), block.get("background")
    moved: JsonObject = {"remove": kind if isinstance(kind, str) and kind else "auto"}
    if isinstance(behind, str) and behind:
        is_picture = behind.strip().lower().startswith(_PICTURE_STARTS)
        moved["replace" if is_picture else "color"] = behind
    _under_background(document, moved)


def _background_url(document: JsonObject) -> None:
    """`background_url`, at the top, in `background` or in `background.generate`: the picture that goes behind."""
    urls = [document.pop("background_url", None)]
    background = document.get("background")
    if isinstance(background, Mapping):
        background = dict(background)
        urls.append(background.pop("background_url", None))
        generate = background.get("generate")
        if isinstance(generate, Mapping) and generate.get("background_url"):
            urls.append(generate["background_url"])
            background.pop("generate")  # the background is given: none is generated
        document["background"] = background
    url = next((each for each in urls if each), None)
    if url:
        _under_background(document, {"replace": url})


def _under_background(document: JsonObject, fields: JsonObject) -> None:
    background = document.get("background")
    if background is None or isinstance(background, Mapping):
        document["background"] = {**fields, **(background or {})}
