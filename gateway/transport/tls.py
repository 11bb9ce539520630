"""Certificates of the gateway: of its own port, and for the orchestrator's. Files that change are read again."""

import ssl

import grpc

from common import certificates
from common.certificates import Reloading, read_certificates, read_file
from gateway.config import Settings

CERT, KEY = "IMAGEGEN_REST_TLS_CERT_FILE", "IMAGEGEN_REST_TLS_KEY_FILE"
UP_CA, UP_CERT, UP_KEY = (f"IMAGEGEN_ORCHESTRATOR_{part}_FILE" for part in ("CA", "CERT", "KEY"))


def server_context(settings: Settings) -> ssl.SSLContext | None:
    """TLS 1.2 or later for the REST port, with the newest certificate at each handshake; None where none is set.

    Raises:
        SettingsError: a file is missing, or the key does not fit the certificate.
    """
    cert, key = settings.rest_tls_cert_file, settings.rest_tls_key_file
    if cert is None or key is None:
        return None

    def make() -> ssl.SSLContext:
        context = certificates.server_context(CERT, cert, KEY, key)
        context.set_alpn_protocols(["http/1.1"])
        return context

    newest = Reloading((cert, key), make)

    # Called at each handshake, whether the client has named a server or not. The connection changes over to a context
    # of its own; load_cert_chain on the live one could leave it with a certificate and another one's key.
    def choose(connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = newest.current()

    first = make()
    first.sni_callback = choose
    return first


def client_credentials(settings: Settings) -> Reloading[grpc.ChannelCredentials] | None:
    """What the orchestrator is trusted by, and this gateway's certificate for it; None where no CA is set.

    Raises:
        SettingsError: a file is missing, or the key does not fit the certificate.
    """
    ca, cert, key = settings.orchestrator_ca_file, settings.orchestrator_cert_file, settings.orchestrator_key_file
    if ca is None:
        return None

    def make() -> grpc.ChannelCredentials:
        roots = read_certificates(UP_CA, ca)
        if cert is None or key is None:
            return grpc.ssl_channel_credentials(roots)
        certificates.server_context(UP_CERT, cert, UP_KEY, key)  # a pair that does not fit is refused here
        return grpc.ssl_channel_credentials(roots, read_file(UP_KEY, key), read_file(UP_CERT, cert))

    return Reloading(tuple(path for path in (ca, cert, key) if path is not None), make)
