"""Addresses in the storages of an account: storage://NAME/PATH."""

import re
from dataclasses import dataclass

SCHEME = "storage://"
MAX_PATH = 1024

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def is_storage(url: str) -> bool:
    """Whether a URL is meant as one of a storage; schemes are written in any case (RFC 3986, 3.1)."""
    return url[: len(SCHEME)].lower() == SCHEME


@dataclass(frozen=True, slots=True)
class StorageUrl:
    """A place in a storage.

    Attributes:
        name: of the storage, 1 to 64 characters of A-Z a-z 0-9 . _ -.
        path: under it, 1 to 1024 characters, taken as they are: "%20" is three characters.
    """

    name: str
    path: str

    @classmethod
    def parse(cls, url: str) -> "StorageUrl":
        """Read storage://NAME/PATH.

        Raises:
            ValueError: it has another form; the message goes on a sentence that begins with the field's name.
        """
        if not is_storage(url):
            raise ValueError("must begin with storage://")
        name, _, path = url[len(SCHEME) :].partition("/")
        if not is_storage_name(name):
            raise ValueError("must name a storage after storage://: 1 to 64 characters of A-Z a-z 0-9 . _ -")
        if not 0 < len(path) <= MAX_PATH:
            raise ValueError(f"must have a path of 1 to {MAX_PATH} characters after the storage's name")
        if not {"", ".", ".."}.isdisjoint(path.split("/")):
            raise ValueError('must have a path without empty parts and without parts "." and ".."')
        if _CONTROL.search(path):
            raise ValueError("must have a path without control characters")
        return cls(name, path)


def is_storage_name(name: str) -> bool:
    """Whether a storage may be called so."""
    return _NAME.fullmatch(name) is not None


def storage_fault(url: str) -> str | None:
    """What is wrong with an address in a storage; None if nothing is."""
    try:
        StorageUrl.parse(url)
    except ValueError as error:
        return str(error)
    return None
