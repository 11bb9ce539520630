"""Addresses in the storages of an account: storage://NAME/PATH."""

import re
from dataclasses import dataclass, replace

from orchestrator.errors import Reason

SCHEME = "storage://"
MAX_PATH = 1024
FILE_NAME = 32
"""Characters that are kept for the name of a file in a folder."""

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def is_storage(url: str) -> bool:
    """Whether a URL is meant as one of a storage; schemes are written in any case (RFC 3986, 3.1)."""
    return url[: len(SCHEME)].lower() == SCHEME


class StorageUrlError(ValueError):
    """Not an address in a storage. The message continues a sentence that begins with the field's name."""

    def __init__(self, message: str, reason: Reason = Reason.UNSPECIFIED) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class StorageUrl:
    """A file in a storage, or a folder in it.

    Attributes:
        name: of the storage, 1 to 64 characters of A-Z a-z 0-9 . _ -.
        path: under it, up to 1024 characters, taken as they are: "%20" is three characters. A folder's is "" or ends
            with "/".
    """

    name: str
    path: str

    @classmethod
    def parse(cls, url: str, *, or_folder: bool = False) -> "StorageUrl":
        """Read storage://NAME/PATH; with `or_folder` also storage://NAME and storage://NAME/FOLDER/.

        Raises:
            StorageUrlError: it has another form.
        """
        if not is_storage(url):
            raise StorageUrlError("must begin with storage://")
        name, _, path = url[len(SCHEME) :].partition("/")
        if not is_storage_name(name):
            raise StorageUrlError("must name a storage after storage://: 1 to 64 characters of A-Z a-z 0-9 . _ -")
        most = MAX_PATH - FILE_NAME if or_folder and path.endswith("/") else MAX_PATH
        if not path and not or_folder:
            reason = Reason.STORAGE_PATH_REQUIRED
            raise StorageUrlError(f"must have a path of 1 to {most} characters after the storage's name", reason)
        if len(path) > most:
            raise StorageUrlError(f"must have a path of 1 to {most} characters after the storage's name")
        parts = path.removesuffix("/").split("/") if path else []
        if not {"", ".", ".."}.isdisjoint(parts):
            raise StorageUrlError('must have a path without empty parts and without parts "." and ".."')
        if path.endswith("/") and not or_folder:
            raise StorageUrlError("must name a file, not a folder: without / at its end", Reason.STORAGE_FOLDER)
        if _CONTROL.search(path):
            raise StorageUrlError("must have a path without control characters")
        return cls(name, path)

    def with_file(self, name: str) -> "StorageUrl":
        """The file of that name, up to FILE_NAME characters, where this is a folder; else this."""
        return replace(self, path=self.path + name) if not self.path or self.path.endswith("/") else self


def is_storage_name(name: str) -> bool:
    """Whether a storage may be called so."""
    return _NAME.fullmatch(name) is not None
