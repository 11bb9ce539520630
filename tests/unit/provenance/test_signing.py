"""C2PA manifests, verified by the library's reader."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.errors import SettingsError
from orchestrator.config import Settings
from orchestrator.errors import PreconditionError
from orchestrator.imaging import codec
from orchestrator.models.source import ModelDigest
from orchestrator.params import ImageFormat, OutputParams
from orchestrator.provenance import signing, xmp
from orchestrator.provenance.marking import Marking, Parent, Work, inspect
from orchestrator.provenance.origin import Origin, combined
from orchestrator.provenance.signing import Signer
from tests.unit.provenance import credentials

PICTURE = np.random.default_rng(1).integers(0, 256, (96, 128, 3), dtype=np.uint8)
MODELS = (ModelDigest("unet", "ab" * 32, "onnx f32"),)


@pytest.fixture(scope="module")
def own() -> credentials.Credentials:
    """An operator's certificate."""
    return credentials.create()


@pytest.fixture(scope="module")
def marking(own: credentials.Credentials) -> Marking:
    """Everything on."""
    return Marking(version="1.2.3", signer=Signer(own.chain, own.key))


def work(origin: Origin = Origin.GENERATED, *parents: Parent) -> Work:
    """Of a request with seed 7."""
    return Work(origin=origin, recipe=None, family="realistic", seed=7, models=MODELS, parents=parents)


def encode(output: OutputParams) -> codec.Encoded:
    """The picture."""
    return codec.encode(PICTURE, output)


@pytest.mark.parametrize("image_format", ImageFormat)
def test_a_signed_file_verifies(marking: Marking, own: credentials.Credentials, image_format: ImageFormat) -> None:
    output = OutputParams(format=image_format)
    data = marking.write(encode, output, work()).data
    seen = signing.read(data)
    assert seen is not None
    assert (seen.valid, seen.trusted, seen.origin) == (True, False, Origin.GENERATED)
    assert (seen.issuer, seen.common_name) == ("Example Org", "Example Pictures")
    assert (seen.software or "").startswith("imagegen 1.2.3")
    trusted = signing.read(data, own.anchor.decode())
    assert trusted is not None
    assert trusted.trusted
    other = signing.read(data, credentials.create().anchor.decode())
    assert other is not None
    assert not other.trusted
    assert xmp.read(data).origin is Origin.GENERATED  # the packet is still there, under the signature
    plain = Image.open(io.BytesIO(encode(output).data)).convert("RGB")
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data)).convert("RGB")), np.asarray(plain))


@pytest.mark.parametrize("image_format", ImageFormat)
def test_a_changed_byte_is_found(marking: Marking, image_format: ImageFormat) -> None:
    data = bytearray(marking.write(encode, OutputParams(format=image_format), work()).data)
    data[data.find(b"trainedAlgorithmicMedia") + 3] ^= 1  # in the XMP packet, which is under the signature
    seen = signing.read(bytes(data))
    assert seen is not None
    assert not seen.valid
    assert seen.problems


def test_an_edit_of_a_signed_picture_names_its_parent(marking: Marking) -> None:
    first = marking.write(encode, OutputParams(), work()).data
    parent = inspect(first)
    assert parent.origin is Origin.GENERATED
    assert parent.file == first
    second = marking.write(encode, OutputParams(), work(Origin.EDITED, parent)).data
    seen = signing.read(second)
    assert seen is not None
    assert (seen.valid, seen.origin) == (True, Origin.GENERATED)  # a cropped generated picture is a generated picture
    assert b"c2pa.opened" in second
    assert b"parentOf" in second


def test_a_plain_edit_of_an_unmarked_picture_is_left_alone(marking: Marking) -> None:
    parent = inspect(encode(OutputParams()).data)
    assert parent == Parent(None, None)
    assert marking.write(encode, OutputParams(), work(Origin.EDITED, parent)).data == encode(OutputParams()).data


@pytest.mark.parametrize("image_format", [ImageFormat.JPEG, ImageFormat.WEBP])
@pytest.mark.parametrize("signed", [True, False])
def test_max_file_size_holds_with_marks(marking: Marking, image_format: ImageFormat, *, signed: bool) -> None:
    chosen = marking if signed else Marking(version="1.2.3")
    size = len(chosen.write(encode, OutputParams(format=image_format, quality=40), work()).data)
    output = OutputParams(format=image_format, quality=95, max_file_size=size)
    written = chosen.write(encode, output, work())
    assert size - 900 <= len(written.data) <= size
    assert written.quality is not None
    assert written.quality >= 30
    with pytest.raises(PreconditionError, match="max_file_size"):
        chosen.write(encode, OutputParams(format=image_format, max_file_size=1024), work())


def test_without_a_signature_the_same_request_gives_the_same_bytes() -> None:
    chosen = Marking(version="1.2.3")
    assert chosen.write(encode, OutputParams(), work()) == chosen.write(encode, OutputParams(), work())


def test_the_operator_can_turn_marks_off() -> None:
    assert Marking(version="1", xmp=False).write(encode, OutputParams(), work()) == encode(OutputParams())


def test_origins_combine() -> None:
    generated, composite, edited = Origin.GENERATED, Origin.COMPOSITE, Origin.EDITED
    assert combined(edited) is edited
    assert combined(edited, None) is edited
    assert combined(edited, generated) is generated
    assert combined(edited, generated, adds_source=True) is composite
    assert combined(edited, None, generated, adds_source=True) is composite
    assert combined(edited, composite) is composite
    assert combined(composite, generated) is composite
    assert combined(generated, None) is generated


@pytest.mark.parametrize("start", [b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"RIFF", b"0000ftypavif"])
def test_bytes_that_are_no_file_have_no_manifest(start: bytes) -> None:
    data = start + b"c2pa" * 9
    assert signing.read(data) is None
    assert inspect(data) == Parent(None, None)


def test_a_key_of_another_certificate_is_refused_at_start(tmp_path: Path, own: credentials.Credentials) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    certificate.write_bytes(own.chain)
    settings = Settings(c2pa_cert_file=certificate, c2pa_key_file=key)
    with pytest.raises(SettingsError, match="IMAGEGEN_C2PA_CERT_FILE"):
        Signer.load(settings)
    key.write_bytes(b"no key")
    with pytest.raises(SettingsError, match="IMAGEGEN_C2PA_CERT_FILE"):
        Signer.load(settings)
    key.write_bytes(credentials.create().key)
    with pytest.raises(SettingsError, match=r"cannot sign: .*the key must belong to the certificate"):
        Signer.load(settings)
    key.write_bytes(own.key)
    assert Signer.load(settings) is not None
    assert Signer.load(Settings()) is None
