"""The port of the gRPC server: TLS 1.2 or later, clients' certificates, and files that change while it serves."""

from dataclasses import dataclass
from pathlib import Path

import grpc
import structlog
from cryptography import x509

from common.certificates import Reloading, read_certificates, read_file, server_context
from common.errors import SettingsError
from common.settings import is_loopback
from orchestrator import metrics
from orchestrator.config import Settings

CERT, KEY, CLIENT_CA = "IMAGEGEN_TLS_CERT_FILE", "IMAGEGEN_TLS_KEY_FILE", "IMAGEGEN_TLS_CLIENT_CA_FILE"

log = structlog.get_logger()


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
    """Certificate, key and clients' CA of a server, read again when their files have changed.

    gRPC asks before each handshake, and so does who reads the metric of the certificate's end. New files that are
    broken are logged and counted once, and the old ones serve on.
    """

    def __init__(self, cert: Path, key: Path, client_ca: Path | None) -> None:
        """Read the files.

        Raises:
            SettingsError: one is missing, or does not fit the others; the message names the variable.
        """
        self._cert, self._key, self._client_ca = cert, key, client_ca
        paths = tuple(path for path in (cert, key, client_ca) if path is not None)
        self._files = Reloading(
            paths, self._load, lambda done: metrics.TLS_RELOADS.labels("done" if done else "failed").inc()
        )
        metrics.TLS_EXPIRY.set_function(lambda: self.current().expires)
        log.info("tls_loaded", certificate=str(cert), expires=self.current().expires)

    @classmethod
    def from_settings(cls, settings: Settings) -> "Certificates | None":
        """Those that the settings name; None where TLS is not set."""
        if settings.tls_cert_file is None or settings.tls_key_file is None:
            return None
        return cls(settings.tls_cert_file, settings.tls_key_file, settings.tls_client_ca_file)

    def credentials(self) -> grpc.ServerCredentials:
        """Credentials of a secure port, which change with the files."""
        return grpc.dynamic_ssl_server_credentials(
            self.current().configuration,
            lambda: self.current().configuration,
            require_client_authentication=self._client_ca is not None,
        )

    def current(self) -> Loaded:
        """The newest files that fit together."""
        return self._files.current()

    def _load(self) -> Loaded:
        server_context(CERT, self._cert, KEY, self._key)  # a pair that does not fit is refused here
        chain, key = read_file(CERT, self._cert), read_file(KEY, self._key)
        roots = None if self._client_ca is None else read_certificates(CLIENT_CA, self._client_ca)
        expires = x509.load_pem_x509_certificate(chain).not_valid_after_utc.timestamp()
        return Loaded(grpc.ssl_server_certificate_configuration([(key, chain)], roots), expires)
