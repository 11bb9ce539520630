"""Who may come in: API keys from a file of hashes.

A key is 32 random bytes or more, so one SHA-256 is enough to store it by: there is nothing to guess that a slow hash
would protect (OWASP Password Storage Cheat Sheet speaks of passwords, which people choose).
"""

import hashlib
import hmac
import re
from pathlib import Path

from orchestrator.errors import ApiKeyMissingError, ApiKeyUnknownError, SettingsError

ANONYMOUS = "anonymous"
"""Account of everybody where no key file is set."""

_LINE = re.compile(r"([0-9a-f]{64})\s+(\S{1,64})")


class Accounts:
    """Accounts by the hash of their key; without a file everybody is ANONYMOUS."""

    def __init__(self, hashes: dict[bytes, str] | None) -> None:
        self._hashes = hashes

    @classmethod
    def load(cls, path: Path | None) -> "Accounts":
        """Read lines of `sha256-hex name`; empty lines and those that begin with # are left out.

        Raises:
            SettingsError: the file is missing, a line has another form, or two accounts have one key; the line itself
                is not repeated.
        """
        if path is None:
            return cls(None)
        try:
            lines = path.read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"IMAGEGEN_API_KEYS_FILE={str(path)!r}: {error}") from error
        hashes: dict[bytes, str] = {}
        for number, line in enumerate(map(str.strip, lines), 1):
            if not line or line.startswith("#"):
                continue
            where = f"IMAGEGEN_API_KEYS_FILE={str(path)!r}, line {number}"
            match = _LINE.fullmatch(line)
            if match is None:
                raise SettingsError(f"{where}: give `sha256-hex name`")
            name = hashes.setdefault(bytes.fromhex(match[1]), match[2])
            if name != match[2]:
                raise SettingsError(f"{where}: this key is {name}'s already")
        return cls(hashes)

    def authenticate(self, key: str | None) -> str:
        """The account of a key. Compares with every hash in constant time.

        Raises:
            ApiKeyMissingError: no key was given.
            ApiKeyUnknownError: nobody has it.
        """
        if self._hashes is None:
            return ANONYMOUS
        if not key:
            raise ApiKeyMissingError("no API key; send one as x-api-key")
        digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
        found = [name for known, name in self._hashes.items() if hmac.compare_digest(known, digest)]
        if not found:
            raise ApiKeyUnknownError("the API key is not known")
        return found[0]
