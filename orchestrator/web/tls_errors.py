"""Why a TLS connection was not opened, in words for the owner of the URL."""

import ssl
from collections.abc import Iterator

import anyio

_EXPIRED, _NOT_YET_VALID, _REVOKED = 10, 9, 23
_OTHER_NAMES = {62, 63, 64}
"""Verification codes of OpenSSL (X509_verify_cert_error_string): of a host name, an e-mail and an IP address."""
_NOT_TLS = {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"}
"""Reasons of OpenSSL for bytes that are not a TLS record."""


def describe(error: BaseException) -> str | None:
    """What is wrong, to follow "the server"; None where TLS is not the reason."""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return _of_certificate(cause)
        if isinstance(cause, ssl.SSLError):
            if cause.reason in _NOT_TLS:
                return "does not speak TLS at this port; try http in place of https"
            return "refused the TLS handshake"
        if isinstance(cause, (anyio.EndOfStream, anyio.BrokenResourceError)):
            return "closed the connection during the TLS handshake"
    return None


def _of_certificate(error: ssl.SSLCertVerificationError) -> str:
    if error.verify_code == _EXPIRED:
        return "has a certificate that has expired"
    if error.verify_code == _NOT_YET_VALID:
        return "has a certificate that is not valid yet"
    if error.verify_code == _REVOKED:
        return "has a certificate that was revoked"
    if error.verify_code in _OTHER_NAMES:
        return "has a certificate for another host name"
    return "has a certificate that is not trusted: it must be signed by a public certificate authority"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what it was raised from."""
    current: BaseException | None = error
    while current is not None:
        yield current
        current = current.__cause__ or current.__context__
