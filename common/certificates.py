"""Certificates in files, read again when they change, so that renewing them needs no restart."""

import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import structlog

from common.errors import SettingsError

T = TypeVar("T")

_READS = 3
"""Tries to read all files between two changes of them."""

log = structlog.get_logger()


class Reloading(Generic[T]):
    """A value built from files, and built again when one of them is written or replaced, or a link to it is swapped.

    New files that cannot be used are logged once, and the old value stays. Safe for several threads.
    """

    def __init__(
        self, paths: tuple[Path, ...], build: Callable[[], T], reloaded: Callable[[bool], None] = lambda _: None
    ) -> None:
        """Build the first value.

        Args:
            paths: of the files.
            build: reads the files; raises SettingsError where one is missing or wrong.
            reloaded: called after each later change, with whether the new files could be used.

        Raises:
            SettingsError: a file is missing or wrong; the message names the variable.
        """
        self._paths, self._build, self._reloaded = paths, build, reloaded
        self._lock = threading.Lock()
        self._value, self._seen = self._read()

    def current(self) -> T:
        """The newest value that could be built."""
        with self._lock:
            if (stamp := self._stamp()) != self._seen:
                try:
                    self._value, self._seen = self._read()
                except SettingsError as error:
                    self._seen = stamp
                    log.error("tls_reload_failed", reason=str(error))  # noqa: TRY400  # its words say all
                    self._reloaded(False)  # of a callback
                else:
                    log.info("tls_reloaded", files=[str(path) for path in self._paths])
                    self._reloaded(True)  # of a callback
            return self._value

    def _read(self) -> tuple[T, object]:
        """The value and the stamp of its files; where they change meanwhile, they are read again."""
        for _ in range(_READS):
            stamp, failed = self._stamp(), None
            try:
                value = self._build()
            except SettingsError as error:
                failed = error
            if stamp != self._stamp():
                continue
            if failed is not None:
                raise failed
            return value, stamp
        raise SettingsError(f"{self._paths[0]}: changes while it is read")

    def _stamp(self) -> tuple[object, ...]:
        return tuple(_stamp(path) for path in self._paths)


def read_certificates(variable: str, path: Path) -> bytes:
    """A PEM file of certificates.

    Raises:
        SettingsError: it cannot be read, or holds none; the message names the variable.
    """
    pem = read_file(variable, path)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=pem.decode("ascii", "replace"))
    except (ssl.SSLError, ValueError):
        raise SettingsError(f"{variable}={str(path)!r}: is not a PEM file of certificates") from None
    return pem


def read_file(variable: str, path: Path) -> bytes:
    """A file that a variable names.

    Raises:
        SettingsError: it cannot be read; the message names the variable.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise SettingsError(f"{variable}={str(path)!r}: {error.strerror}") from None


def server_context(cert_variable: str, cert: Path, key_variable: str, key: Path) -> ssl.SSLContext:
    """A context of TLS 1.2 or later with a certificate and its key.

    Raises:
        SettingsError: one of them cannot be read, or they do not belong together; the message names the variable.
    """
    read_certificates(cert_variable, cert)
    read_file(key_variable, key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(cert, key, password=lambda: "")  # without it OpenSSL asks at the terminal
    except OSError as error:  # SSLError is one
        is_pair = getattr(error, "reason", None) != "KEY_VALUES_MISMATCH"
        unread = "is not a PEM file of a key without a password"
        wrong = unread if is_pair else f"does not fit the certificate of {cert_variable}"
        raise SettingsError(f"{key_variable}={str(key)!r}: {wrong}") from None
    return context


def _stamp(path: Path) -> tuple[int, int, int, int] | None:
    """What changes when a file is written, replaced, or a link on the way to it is swapped; None: not there."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size
