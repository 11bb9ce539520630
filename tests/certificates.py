"""Certificates for tests: a CA made here, and what it signs."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

PEM = serialization.Encoding.PEM


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


class Authority:
    """A CA. Its certificate is `pem`."""

    def __init__(self, name: str = "test CA") -> None:
        self._name, self._key = _name(name), ec.generate_private_key(ec.SECP256R1())
        built = self._builder(self._name, self._key.public_key(), datetime.now(UTC) + timedelta(days=2))
        made = built.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self.pem = made.sign(self._key, hashes.SHA256()).public_bytes(PEM)

    def sign(self, name: str, expires: datetime | None = None) -> tuple[bytes, bytes]:
        """Certificate and key of 127.0.0.1 and localhost, PEM; for servers and clients."""
        key = ec.generate_private_key(ec.SECP256R1())
        until = expires or datetime.now(UTC) + timedelta(days=1)
        names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))])
        built = self._builder(_name(name), key.public_key(), until).add_extension(names, critical=False)
        certificate = built.sign(self._key, hashes.SHA256()).public_bytes(PEM)
        form, none = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        return certificate, key.private_bytes(PEM, form, none)

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePublicKey, until: datetime) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(until - timedelta(days=3))
            .not_valid_after(until)
        )


class Mounted:
    """A folder as Kubernetes mounts a secret: files are links into `..data`, a link that is swapped as a whole."""

    def __init__(self, folder: Path, certificate: bytes, key: bytes, ca: bytes = b"") -> None:
        folder.mkdir()
        self._folder, self._number = folder, 0
        self.cert, self.key, self.ca = folder / "tls.crt", folder / "tls.key", folder / "ca.crt"
        self.swap(certificate, key, ca)
        for path in (self.cert, self.key, self.ca):
            path.symlink_to(Path("..data") / path.name)

    def swap(self, certificate: bytes, key: bytes, ca: bytes = b"") -> None:
        """Put other files in the place of all of them, at once."""
        self._number += 1
        version = self._folder / f"..{self._number}"
        version.mkdir()
        for path, data in ((self.cert, certificate), (self.key, key), (self.ca, ca)):
            (version / path.name).write_bytes(data)
        new = self._folder / "..data_tmp"
        new.symlink_to(version.name)
        new.rename(self._folder / "..data")
