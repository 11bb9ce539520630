"""A reader of C2PA manifests that shares nothing with the library that writes them: CBOR, COSE and hashes alone.

C2PA Technical Specification 2.2: 11.1 (JUMBF boxes), 13.2 (COSE signatures), 18.5 (hash of the file), A.3 (PNG, JPEG).
RFC 9052, 4.4: what a COSE_Sign1 signature is over. Raises AssertionError where something does not hold.
"""

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cbor2
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

ES256 = -7
"""RFC 9053, 2.1."""


@dataclass(frozen=True)
class Seen:
    """What the active manifest of a file says; everything in it was checked.

    Attributes:
        certificate: that it is signed with.
        claim: as CBOR has it.
        assertions: by label, as CBOR has them.
        time_stamp: DER of the RFC 3161 token; None without one.
        signature: of the claim, which the time stamp is over.
    """

    certificate: x509.Certificate
    claim: dict[str, Any]
    assertions: dict[str, Any]
    time_stamp: bytes | None
    signature: bytes


def read(data: bytes) -> Seen:
    """The active manifest of a PNG or a JPEG, its signature and all its hashes checked."""
    (store,) = _boxes(_embedded(data))
    manifest = list(_children(store))[-1]  # the last one is the active one (11.1.4.2)
    parts = {_label(box): box for box in _children(manifest)}
    claim_bytes = _content(parts["c2pa.claim.v2"])
    claim: dict[str, Any] = cbor2.loads(claim_bytes)
    certificate, unprotected, signature = _check_signature(_content(parts["c2pa.signature"]), claim_bytes)
    stored = {_label(box): box for box in _children(parts["c2pa.assertions"])}
    listed = claim["created_assertions"] + claim.get("gathered_assertions", [])
    named = {each["url"].rpartition("/")[2]: each["hash"] for each in listed}
    assert stored.keys() == named.keys()
    for label, box in stored.items():
        assert hashlib.sha256(box).digest() == named[label], label
    assertions = {label: cbor2.loads(_content(box)) for label, box in stored.items()}
    _check_file(data, assertions["c2pa.hash.data"])
    tokens = unprotected.get("sigTst2", {}).get("tstTokens", [])
    return Seen(certificate, claim, assertions, tokens[0]["val"] if tokens else None, signature)


def _check_signature(cose: bytes, payload: bytes) -> tuple[x509.Certificate, dict[Any, Any], bytes]:
    protected, unprotected, none, signature = cbor2.loads(cose).value
    assert none is None  # detached
    header = cbor2.loads(protected)
    assert header[1] == ES256
    chain = header[33]  # x5chain (RFC 9360, 2)
    certificate = x509.load_der_x509_certificate(chain[0] if isinstance(chain, list) else chain)
    signed = cbor2.dumps(["Signature1", protected, b"", payload])
    halves = (int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    key.verify(encode_dss_signature(*halves), signed, ec.ECDSA(hashes.SHA256()))
    return certificate, unprotected, signature


def _check_file(data: bytes, assertion: dict[str, Any]) -> None:
    """The hash of the file without the ranges that are left out of it."""
    assert assertion["alg"] == "sha256"
    kept, at = b"", 0
    for hole in assertion["exclusions"]:
        kept += data[at : hole["start"]]
        at = hole["start"] + hole["length"]
    assert hashlib.sha256(kept + data[at:]).digest() == assertion["hash"]


def _embedded(data: bytes) -> bytes:
    """The JUMBF boxes in a file."""
    if data.startswith(b"\x89PNG"):
        return b"".join(body for kind, body in _chunks(data) if kind == b"caBX")
    found, at = b"", 2
    while data[at : at + 1] == b"\xff" and data[at + 1] != 0xDA:
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at + 1] == 0xEB:  # APP11: "JP", instance, sequence; box length and type come again in each
            body = data[at + 4 : at + 2 + length]
            found += body[8:] if int.from_bytes(body[4:8], "big") == 1 else body[16:]
        at += 2 + length
    return found


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 8
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        yield kind, data[at + 8 : at + 8 + length]
        at += 12 + length


def _boxes(data: bytes) -> Iterator[bytes]:
    """Contents of the boxes of a row, without their length and type (ISO/IEC 19566-5)."""
    at = 0
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        yield data[at + 8 : at + length]
        at += length


def _children(superbox: bytes) -> Iterator[bytes]:
    """Boxes after the description."""
    boxes = _boxes(superbox)
    next(boxes)
    return boxes


def _label(superbox: bytes) -> str:
    """Of a superbox: in its description, after a UUID and toggles."""
    return next(_boxes(superbox))[17:].partition(b"\0")[0].decode()


def _content(superbox: bytes) -> bytes:
    """Of a superbox with one box in it."""
    return next(_children(superbox))
