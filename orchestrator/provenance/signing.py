"""C2PA manifests (Content Credentials): signed into files, and read from files of others.

C2PA Technical Specification 2.2; the library is the Content Authenticity Initiative's own.
"""

import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import structlog

from common.errors import SettingsError
from orchestrator.config import Settings
from orchestrator.errors import SignerUnavailableError
from orchestrator.imaging import codec
from orchestrator.models.source import ModelDigest
from orchestrator.params import ImageFormat, OutputParams
from orchestrator.provenance.origin import Origin
from orchestrator.provenance.remote import RemoteKey
from orchestrator.provenance.xmp import SOFTWARE
from orchestrator.web.services import ServiceError
from orchestrator.web.urls import redacted

try:
    import c2pa
except ImportError:  # an extra: only who signs or verifies manifests needs it
    c2pa = None

log = structlog.get_logger()

DETAILS = "org.imagegen.generation"
"""Label of the assertion that names seed, family and networks."""
_PARENT = "parent"
# What the library's errors say where the time-stamping authority is at fault; it has no class of its own for them.
_ASKS_AUTHORITY = re.compile(r"http resolver|time.?stamp", re.IGNORECASE)
# No thumbnails: they would double the work, and show what a crop has removed. Nothing is fetched from elsewhere.
_SETTINGS: Mapping[str, Any] = {
    "builder": {"thumbnail": {"enabled": False}},
    "verify": {"ocsp_fetch": False, "remote_manifest_fetch": False, "verify_trust": False},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a manifest states about a picture.

    Attributes:
        origin: of the picture.
        version: of this software.
        family: that generated it; None where nothing was generated.
        seed: of its noise.
        models: networks that took part.
        parent: the client's file that it was edited from, if that file has a manifest.
    """

    origin: Origin
    version: str
    family: str | None
    seed: int
    models: tuple[ModelDigest, ...]
    parent: bytes | None


@dataclass(frozen=True, slots=True)
class Signed:
    """What the manifest of a file says.

    Attributes:
        valid: whether the signature and all hashes hold; says nothing about who signed.
        trusted: whether the certificate leads to one of the operator's trust anchors.
        issuer, common_name: of the certificate, at most 200 characters each; None where they are not given.
        software: that wrote the manifest, with its version.
        origin: generated or composite; None if it says neither.
        problems: codes of what does not hold, as C2PA names them.
    """

    valid: bool
    trusted: bool
    issuer: str | None
    common_name: str | None
    software: str | None
    origin: Origin | None
    problems: tuple[str, ...]


_TRIAL = codec.encode(np.zeros((1, 1, 3), np.uint8), OutputParams()).data
_TRIAL_CLAIM = Claim(origin=Origin.GENERATED, version="trial", family=None, seed=0, models=(), parent=None)
"""What is signed at start-up, to find out whether certificate and key can sign."""


@dataclass(frozen=True)
class Signer:
    """Signs manifests with an operator's certificate. Its methods take some 5 to 40 ms: call them in a thread.

    Attributes:
        certificates: PEM, the signing certificate first, then those between it and its CA.
        key: PEM (PKCS #8) of its private key, or a service that keeps it.
        algorithm: of the signature, as IMAGEGEN_C2PA_ALGORITHM has it (C2PA 2.2, section 13.2.1).
        timestamp_url: of an RFC 3161 time-stamping authority; None for none.
    """

    certificates: bytes
    key: bytes | RemoteKey
    algorithm: str = "es256"
    timestamp_url: str | None = None

    @classmethod
    def load(cls, settings: Settings) -> "Signer | None":
        """The signer that the settings name; None if they name none.

        Raises:
            SettingsError: a file cannot be read, certificate and key do not belong together, the service that keeps
                the key gives no signature, or the package is not installed.
        """
        certificate_file, key_file, url = settings.c2pa_cert_file, settings.c2pa_key_file, settings.c2pa_signer_url
        if certificate_file is None:
            return None
        if c2pa is None:
            raise SettingsError("IMAGEGEN_C2PA_CERT_FILE: signing needs the package c2pa-python; install it")
        holder = f"IMAGEGEN_C2PA_KEY_FILE={str(key_file)!r}" if key_file else f"IMAGEGEN_C2PA_SIGNER_URL={url!r}"
        named = f"IMAGEGEN_C2PA_CERT_FILE={str(certificate_file)!r}, {holder}"
        algorithm, seconds = settings.c2pa_algorithm, settings.c2pa_signer_seconds
        try:
            key = (
                key_file.read_bytes()
                if key_file
                else RemoteKey(url or "", algorithm, settings.c2pa_signer_token or "", seconds)
            )
            signer = cls(certificate_file.read_bytes(), key, algorithm, settings.c2pa_timestamp_url)
            trial = replace(signer, timestamp_url=None).sign(_TRIAL, ImageFormat.PNG, _TRIAL_CLAIM)
        except (OSError, c2pa.C2paError, SignerUnavailableError) as error:
            needed = "the key must belong to the certificate, and C2PA must accept it (C2PA 2.2, section 14.5)"
            raise SettingsError(f"{named}: cannot sign: {error}; {needed}") from error
        found = read(trial)
        if found is None or not found.valid:
            raise SettingsError(f"{named}: what they sign does not verify: the key must belong to the certificate")
        return signer

    @cached_property
    def _local(self) -> "c2pa.Signer":
        url = self.timestamp_url.encode() if self.timestamp_url else None
        return c2pa.Signer.from_info(c2pa.C2paSignerInfo(self.algorithm.encode(), self.certificates, self.key, url))

    def sign(self, data: bytes, image_format: ImageFormat, claim: Claim) -> bytes:
        """The file with a manifest; nothing may be written into it afterwards.

        Raises:
            SignerUnavailableError: the service that keeps the key, or the time-stamping authority, gives no answer.
        """
        builder = c2pa.Builder(_manifest(claim), _context())
        if claim.parent is not None:
            ingredient = {"title": "input", "relationship": "parentOf", "instance_id": _PARENT}
            builder.add_ingredient(ingredient, _media_type(claim.parent), io.BytesIO(claim.parent))
        signed, refusals = io.BytesIO(), list[ServiceError]()
        signer = self._local if isinstance(self.key, bytes) else self._asking(self.key, refusals)
        try:
            builder.sign(signer, image_format.media_type, io.BytesIO(data), signed)
        except c2pa.C2paError as error:
            if refusals:
                raise SignerUnavailableError(f"the service that signs manifests: {refusals[0]}") from error
            if self.timestamp_url and _ASKS_AUTHORITY.search(str(error)):
                log.warning("no time stamp", url=redacted(self.timestamp_url), reason=str(error))
                raise SignerUnavailableError("the time-stamping authority does not answer") from error
            raise
        return signed.getvalue()

    def _asking(self, key: RemoteKey, refusals: list[ServiceError]) -> "c2pa.Signer":
        """The library's signer over a service; why it gives no signature goes to `refusals`."""

        def ask(content: bytes) -> bytes:
            try:
                return key.sign(content)
            except ServiceError as error:
                log.warning("no signature", url=redacted(key.url), reason=str(error))
                refusals.append(error)
                raise

        algorithm = c2pa.C2paSigningAlg[self.algorithm.upper()]
        return c2pa.Signer.from_callback(ask, algorithm, self.certificates.decode(), self.timestamp_url)


def read_anchors(file: Path | None) -> str | None:
    """The operator's trust list as PEM; None if the settings name none.

    Raises:
        SettingsError: the file cannot be read, or holds no certificate.
    """
    if file is None:
        return None
    try:
        text = file.read_text("ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"IMAGEGEN_C2PA_TRUST_FILE={str(file)!r}: {error}") from error
    if "-----BEGIN CERTIFICATE-----" not in text:
        raise SettingsError(f"IMAGEGEN_C2PA_TRUST_FILE={str(file)!r}: has no PEM certificate")
    return text


def read(data: bytes, trust_anchors: str | None = None) -> Signed | None:
    """What the manifest of a file says; None if it has none, or none that can be read. Call it in a thread.

    Args:
        data: the file.
        trust_anchors: PEM certificates of the CAs that the operator trusts.
    """
    if c2pa is None or b"c2pa" not in data:
        return None
    try:
        with c2pa.Reader(_media_type(data), io.BytesIO(data), context=_context(trust_anchors)) as reader:
            found = json.loads(reader.json())
    except c2pa.C2paError:
        return None
    manifest = found.get("manifests", {}).get(found.get("active_manifest"), {})
    signature = manifest.get("signature_info", {})
    codes = tuple(str(status.get("code")) for status in found.get("validation_status") or ())
    untrusted = "signingCredential.untrusted"
    generator = (manifest.get("claim_generator_info") or [{}])[0]
    return Signed(
        valid=all(code == untrusted for code in codes),
        trusted=trust_anchors is not None and found.get("validation_state") == "Trusted",
        issuer=_text(signature.get("issuer")),
        common_name=_text(signature.get("common_name")),
        software=_text(" ".join(str(generator[key]) for key in ("name", "version") if key in generator)),
        origin=_origin(manifest),
        problems=tuple(code for code in codes if code != untrusted or trust_anchors is not None)[:20],
    )


def _manifest(claim: Claim) -> dict[str, Any]:
    source_type = claim.origin.digital_source_type
    typed = {} if source_type is None else {"digitalSourceType": source_type}
    actions: list[dict[str, Any]] = [{"action": "c2pa.created", **typed}]
    if claim.parent is not None:
        opened = {"action": "c2pa.opened", "parameters": {"ingredientIds": [_PARENT]}}
        actions = [opened, {"action": "c2pa.edited", **typed}]
    networks = [{"model": each.model, "model_sha256": each.sha256, "engine": each.engine} for each in claim.models]
    details = {"family": claim.family, "seed": str(claim.seed), "models": networks}
    return {
        "claim_generator_info": [{"name": SOFTWARE, "version": claim.version}],
        "assertions": [
            # "created": stated by this service itself, and not gathered from others (C2PA 2.2, section 10.2).
            {"label": "c2pa.actions.v2", "data": {"actions": actions}, "created": True},
            {"label": DETAILS, "data": details, "created": True},
        ],
    }


def _context(trust_anchors: str | None = None) -> "c2pa.Context":
    settings = dict(_SETTINGS)
    if trust_anchors is not None:
        settings = {
            **settings,
            "trust": {"user_anchors": trust_anchors},
            "verify": {**settings["verify"], "verify_trust": True},
        }
    return c2pa.Context.from_dict(settings)


def _media_type(data: bytes) -> str:
    """By the file's first bytes: what a client calls it says nothing."""
    if data[4:8] == b"ftyp":
        return "image/avif" if data[8:12] in {b"avif", b"avis"} else "image/heic"
    starts = {b"\x89PNG": "image/png", b"\xff\xd8": "image/jpeg", b"RIFF": "image/webp", b"GIF8": "image/gif"}
    return next((kind for start, kind in starts.items() if data.startswith(start)), "image/tiff")


def _origin(manifest: Mapping[str, Any]) -> Origin | None:
    for assertion in manifest.get("assertions") or ():
        if str(assertion.get("label", "")).startswith("c2pa.actions"):
            for action in reversed(assertion.get("data", {}).get("actions") or ()):
                if source_type := action.get("digitalSourceType"):
                    return Origin.of_source_type(str(source_type))
    return None


def _text(value: object) -> str | None:
    return str(value)[:200] if value else None
