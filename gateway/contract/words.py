"""Words of the documented JSON as clients spell them: capitals and what joins words do not count."""

import re
from collections.abc import Iterable

_JOINTS = re.compile(r"[\s._/-]+")


def plain(word: str) -> str:
    """In lower case, without what joins words: "Print/Photo" and "print_photo" are printphoto."""
    return _JOINTS.sub("", word.lower())


def find(known: Iterable[str], said: str) -> str | None:
    """The one of the known words that a client means; None if it means none of them."""
    wanted = plain(said)
    return next((word for word in known if plain(word) == wanted), None)
