"""Certificates of the gateway: of its own port, and for the orchestrator's. Files that change are read again."""

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import grpc
import structlog

from common.settings import SettingsError
from gateway.config import Settings

T = TypeVar("T")

CERT, KEY = "IMAGEGEN_REST_TLS_CERT_FILE", "IMAGEGEN_REST_TLS_KEY_FILE"
UP_CA, UP_CERT, UP_KEY = (f"IMAGEGEN_ORCHESTRATOR_{part}_FILE" for part in ("CA", "CERT", "KEY"))

_READS = 3
"""Tries to read all files between two changes of them."""

log = structlog.get_logger()


class Rotating(Generic[T]):
    """Something made of files, made anew when one of them is written, replaced, or a link on the way to it swapped.

    What cannot be made of the new files is logged once, and the old one stays.
    """

    def __init__(self, paths: tuple[Path, ...], make: Callable[[], T]) -> None:
        """Make the first.

        Raises:
            SettingsError: a file is missing or wrong; the message names the variable.
        """
        self._paths, self._make = paths, make
        self._made, self._seen = self._read()

    def current(self) -> T:
        """The newest that could be made."""
        if (seen := self._stamp()) != self._seen:
            try:
                self._made, self._seen = self._read()
            except SettingsError as error:
                self._seen = seen
                log.error("tls_reload_failed", reason=str(error))  # noqa: TRY400  # its words say all
            else:
                log.info("tls_reloaded", files=[str(path) for path in self._paths])
        return self._made

    def _read(self) -> tuple[T, object]:
        for _ in range(_READS):
            stamp, failed = self._stamp(), None
            try:
                made = self._make()
            except SettingsError as error:
                failed = error
            if stamp != self._stamp():
                continue
            if failed is not None:
                raise failed
            return made, stamp
        raise SettingsError(f"{self._paths[0]}: changes while it is read")

    def _stamp(self) -> tuple[object, ...]:
        return tuple(_stamp(path) for path in self._paths)


def server_context(settings: Settings) -> ssl.SSLContext | None:
    """TLS 1.2 or later for the REST port, with the newest certificate at each handshake; None where none is set.

    Raises:
        SettingsError: a file is missing, or the key does not fit the certificate.
    """
    cert, key = settings.rest_tls_cert_file, settings.rest_tls_key_file
    if cert is None or key is None:
        return None
    newest = Rotating((cert, key), lambda: _context(CERT, cert, KEY, key))

    # Called at each handshake, whether the client has named a server or not. The connection changes over to a context
    # of its own; load_cert_chain on the live one could leave it with a certificate and another one's key.
    def choose(connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = newest.current()

    first = _context(CERT, cert, KEY, key)
    first.sni_callback = choose
    return first


def client_credentials(settings: Settings) -> Rotating[grpc.ChannelCredentials] | None:
    """What the orchestrator is trusted by, and this gateway's certificate for it; None where no CA is set.

    Raises:
        SettingsError: a file is missing, or the key does not fit the certificate.
    """
    ca, cert, key = settings.orchestrator_ca_file, settings.orchestrator_cert_file, settings.orchestrator_key_file
    if ca is None:
        return None

    def make() -> grpc.ChannelCredentials:
        roots = _read(UP_CA, ca)
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=roots.decode("ascii", "replace"))
        except (ssl.SSLError, ValueError):
            raise SettingsError(f"{UP_CA}={str(ca)!r}: is no PEM file of certificates") from None
        if cert is None or key is None:
            return grpc.ssl_channel_credentials(roots)
        _context(UP_CERT, cert, UP_KEY, key)
        return grpc.ssl_channel_credentials(roots, _read(UP_KEY, key), _read(UP_CERT, cert))

    return Rotating(tuple(path for path in (ca, cert, key) if path is not None), make)


def _context(cert_variable: str, cert: Path, key_variable: str, key: Path) -> ssl.SSLContext:
    _read(cert_variable, cert)
    _read(key_variable, key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(cert, key, password=lambda: "")  # without it OpenSSL asks at the terminal
    except OSError as error:  # SSLError is one
        fits = getattr(error, "reason", None) != "KEY_VALUES_MISMATCH"
        wrong = "no PEM certificate and key without a password" if fits else "the key does not fit the certificate"
        raise SettingsError(f"{cert_variable}={str(cert)!r}, {key_variable}={str(key)!r}: {wrong}") from None
    return context


def _read(variable: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SettingsError(f"{variable}={str(path)!r}: {error.strerror}") from None


def _stamp(path: Path) -> tuple[int, int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size
