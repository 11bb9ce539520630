"""The port of the gRPC server: TLS 1.2 or later, clients' certificates, and files that change while it serves."""

import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import grpc
import structlog

from common.settings import SettingsError, is_loopback
from orchestrator import metrics
from orchestrator.config import Settings

CERT, KEY, CLIENT_CA = "IMAGEGEN_TLS_CERT_FILE", "IMAGEGEN_TLS_KEY_FILE", "IMAGEGEN_TLS_CLIENT_CA_FILE"

_READS = 3
"""Tries to read all files between two changes of them."""
_NO_CHECK_TIME = ssl.VerifyFlags(0x200000)
"""X509_V_FLAG_NO_CHECK_TIME of openssl/x509_vfy.h, which the ssl module has no name for."""
_END = "-----END CERTIFICATE-----"

log = structlog.get_logger()

Stamp = tuple[tuple[int, int, int, int] | None, ...]
"""For each file what changes when it is written, replaced, or a link on the way to it is swapped; None: not there."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """Files that fit together.

    Attributes:
        configuration: for gRPC.
        expires: when the certificate ends, seconds since 1970.
    """

    configuration: grpc.ServerCertificateConfiguration
    expires: float


def add_port(server: grpc.aio.Server, settings: Settings) -> int:
    """Listen on settings.grpc_address, with TLS where a certificate is set. Returns the port.

    Raises:
        SettingsError: the address is taken; a file is missing, or does not fit the others.
    """
    certificates = Certificates.from_settings(settings)
    try:
        if certificates is not None:
            return server.add_secure_port(settings.grpc_address, certificates.credentials())
        port = server.add_insecure_port(settings.grpc_address)
    except RuntimeError as error:
        raise SettingsError(f"IMAGEGEN_GRPC_ADDRESS={settings.grpc_address!r}: {error}") from error
    if not is_loopback(settings.grpc_address):
        log.warning("grpc_without_tls", address=settings.grpc_address, advice=f"set {CERT}, or let a mesh encrypt")
    return port


class Certificates:
    """Certificate, key and clients' CA of a server, read again when their files have changed. For several threads.

    gRPC asks before each handshake, and so does who reads the metric of the certificate's end. New files that are
    broken are logged and counted once, and the old ones serve on.
    """

    def __init__(self, cert: Path, key: Path, client_ca: Path | None) -> None:
        """Read the files.

        Raises:
            SettingsError: one is missing, or does not fit the others; the message names the variable.
        """
        self._cert, self._key, self._client_ca = cert, key, client_ca
        self._lock = threading.Lock()
        self._loaded, self._seen = self._read()
        metrics.TLS_EXPIRY.set_function(lambda: self.current().expires)
        self._tell("tls_loaded")

    @classmethod
    def from_settings(cls, settings: Settings) -> "Certificates | None":
        """Those that the settings name; None where TLS is not set."""
        if settings.tls_cert_file is None or settings.tls_key_file is None:
            return None
        return cls(settings.tls_cert_file, settings.tls_key_file, settings.tls_client_ca_file)

    def credentials(self) -> grpc.ServerCredentials:
        """What a secure port takes."""
        return grpc.dynamic_ssl_server_credentials(
            self._loaded.configuration,
            lambda: self.current().configuration,
            require_client_authentication=self._client_ca is not None,
        )

    def current(self) -> Loaded:
        """The newest files that fit together."""
        with self._lock:
            if (stamp := self._stamp()) != self._seen:
                try:
                    self._loaded, self._seen = self._read()
                except SettingsError as error:
                    self._seen = stamp
                    metrics.TLS_RELOADS.labels("failed").inc()
                    log.error("tls_reload_failed", reason=str(error))  # noqa: TRY400  # its words say all
                else:
                    metrics.TLS_RELOADS.labels("done").inc()
                    self._tell("tls_reloaded")
            return self._loaded

    def _tell(self, event: str) -> None:
        log.info(event, certificate=str(self._cert), expires=self._loaded.expires)

    def _stamp(self) -> Stamp:
        return tuple(_stamp(path) for path in (self._cert, self._key, self._client_ca) if path is not None)

    def _read(self) -> tuple[Loaded, Stamp]:
        """What the files hold, and their stamp; where they change meanwhile, they are read anew."""
        for _ in range(_READS):
            stamp, failed = self._stamp(), None
            try:
                loaded = self._load()
            except SettingsError as error:
                failed = error
            if stamp != self._stamp():
                continue
            if failed is not None:
                raise failed
            return loaded, stamp
        raise SettingsError(f"{CERT}={str(self._cert)!r}: changes while it is read")

    def _load(self) -> Loaded:
        chain, key = _text(CERT, self._cert), _text(KEY, self._key)
        ca = None if self._client_ca is None else _text(CLIENT_CA, self._client_ca)
        _check_certificates(CERT, self._cert, chain)
        if self._client_ca is not None and ca is not None:
            _check_certificates(CLIENT_CA, self._client_ca, ca)
        server = self._context()
        try:
            expires = _expiry(server, chain)
        except ssl.SSLError as error:
            raise SettingsError(f"{CERT}={str(self._cert)!r}: is no certificate to serve with: {error}") from None
        pair = [(key.encode(), chain.encode())]
        roots = None if ca is None else ca.encode()
        return Loaded(grpc.ssl_server_certificate_configuration(pair, roots), expires)

    def _context(self) -> ssl.SSLContext:
        """A server's, of certificate and key."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(self._cert, self._key, password=lambda: "")  # else it asks at the terminal
        except OSError as error:  # SSLError is one
            fits = getattr(error, "reason", None) != "KEY_VALUES_MISMATCH"
            wrong = "is no PEM file of a key without a password" if fits else f"does not fit the certificate of {CERT}"
            raise SettingsError(f"{KEY}={str(self._key)!r}: {wrong}") from None
        return context


def _text(variable: str, path: Path) -> str:
    try:
        return path.read_text("ascii", errors="replace")
    except OSError as error:
        raise SettingsError(f"{variable}={str(path)!r}: {error.strerror}") from None


def _check_certificates(variable: str, path: Path, pem: str) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=pem)
    except (ssl.SSLError, ValueError):
        raise SettingsError(f"{variable}={str(path)!r}: is no PEM file of certificates") from None


def _expiry(server: ssl.SSLContext, chain: str) -> float:
    """When the chain's first certificate ends, seconds since 1970.

    The ssl module tells it of a peer's certificate only, so a client in memory shakes hands with the server, trusting
    the very certificate and at any time. What cannot serve fails here already.

    Raises:
        ssl.SSLError: no handshake with it succeeds.
    """
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags = ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN | _NO_CHECK_TIME
    client.load_verify_locations(cadata=chain[: chain.index(_END) + len(_END)])
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking, serving = client.wrap_bio(down, up), server.wrap_bio(up, down, server_side=True)
    for step in (asking.do_handshake, serving.do_handshake) * 2:
        _go(step)
    certificate = asking.getpeercert()
    assert certificate is not None  # noqa: S101  # the client has asked for it and checked it
    return float(ssl.cert_time_to_seconds(str(certificate["notAfter"])))


def _go(step: Callable[[], None]) -> None:
    try:
        step()
    except ssl.SSLWantReadError:
        return


def _stamp(path: Path) -> tuple[int, int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size
