"""API keys: generated here, printed once, stored by their SHA-256.

A key has 256 random bits, so there is nothing to guess that a slow hash would protect: that is for passwords, which
people choose (OWASP Password Storage Cheat Sheet). And each call would pay for it.
"""

import hashlib
import re
import secrets

from orchestrator.errors import PreconditionError

_MADE = re.compile(r"ig_[A-Za-z0-9_-]{43}")
_GIVEN = re.compile(r"[!-~]{32,256}")
_KINDS = 10
"""Different characters that another maker's key has at least; 32 random hexadecimal digits nearly always have 12."""

MAX_LENGTH = 256
"""Longest key, characters; what is longer is unknown without being looked up."""


def make() -> str:
    """A new key: `ig_` and 43 url-safe characters, 256 bits."""
    return f"ig_{secrets.token_urlsafe(32)}"


def digest(key: str) -> bytes:
    """What a key is stored by."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


def prefix(key: str) -> str:
    """The characters that are shown of a key: 48 of the 256 bits of ours, little of another maker's."""
    return key[:11] if _MADE.fullmatch(key) else key[:4]


def check(key: str) -> None:
    """Refuse a key that was created elsewhere, and that could be guessed.

    Raises:
        PreconditionError: it is too short, or is not random. The message does not contain it.
    """
    if not _GIVEN.fullmatch(key):
        raise PreconditionError("the key must be 32 to 256 visible ASCII characters, without spaces")
    if len(set(key)) < _KINDS:
        raise PreconditionError("the key repeats too few characters to be random")
