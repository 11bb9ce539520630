"""Manifests signed by a service and stamped by an authority, both real processes, and read by a reader of our own."""

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.errors import SettingsError
from orchestrator.config import Settings
from orchestrator.errors import SignerUnavailableError
from orchestrator.params import ImageFormat, OutputParams
from orchestrator.provenance import signing
from orchestrator.provenance.marking import Marking, inspect
from orchestrator.provenance.remote import RemoteKey
from orchestrator.provenance.signing import Signer
from orchestrator.web import services as web_services
from orchestrator.web.services import ServiceError
from tests.unit.provenance import credentials, reader, services
from tests.unit.provenance.test_signing import encode, work

TOKEN = "letmein"  # noqa: S105 - of the test's own service

TSA = """
[tsa]
default_tsa = own
[own]
serial = {folder}/serial
signer_cert = {folder}/tsa.pem
certs = {folder}/ca.pem
signer_key = {folder}/tsa.key
signer_digest = sha256
default_policy = 1.2.3.4
digests = sha256, sha384, sha512
ess_cert_id_alg = sha256
[usage]
basicConstraints = critical, CA:false
keyUsage = critical, digitalSignature
extendedKeyUsage = critical, timeStamping
"""


def openssl(*arguments: str, folder: Path) -> str:
    """What openssl prints; it must end well."""
    command = ["openssl", *arguments]
    return subprocess.run(command, check=True, cwd=folder, capture_output=True, text=True).stdout  # noqa: S603


@pytest.fixture(scope="module")
def own() -> credentials.Credentials:
    """An operator's certificate."""
    return credentials.create()


@pytest.fixture(scope="module")
def key_file(own: credentials.Credentials, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its key, which only the service reads."""
    file = tmp_path_factory.mktemp("service") / "key.pem"
    file.write_bytes(own.key)
    return file


@pytest.fixture(scope="module", params=["der", "raw"])
def service(request: pytest.FixtureRequest, key_file: Path) -> Iterator[str]:
    """URL of a service that signs."""
    with services.running("sign", str(key_file), "--token", TOKEN, *["--raw"] * (request.param == "raw")) as url:
        yield url


@pytest.fixture
def certificate(own: credentials.Credentials, tmp_path: Path) -> Path:
    """The file with the certificate."""
    file = tmp_path / "cert.pem"
    file.write_bytes(own.chain)
    return file


@pytest.fixture
def silent() -> Iterator[str]:
    """URL of a server that takes connections, and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """URL of a time-stamping authority, and the certificate of its CA."""
    folder = tmp_path_factory.mktemp("tsa")
    config = folder / "tsa.cnf"
    config.write_text(TSA.format(folder=folder))
    (folder / "serial").write_text("01\n")
    new_key = ["-newkey", "rsa:2048", "-nodes"]
    for command in (
        ["req", "-x509", *new_key, "-subj", "/CN=CA", "-keyout", "ca.key", "-out", "ca.pem"],
        ["req", "-new", *new_key, "-subj", "/O=Example Clocks/CN=TSA", "-keyout", "tsa.key", "-out", "tsa.csr"],
        [
            *("x509", "-req", "-in", "tsa.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"),
            *("-extfile", str(config), "-extensions", "usage", "-out", "tsa.pem"),
        ],
    ):
        openssl(*command, folder=folder)
    with services.running("stamp", str(config)) as url:
        yield url, folder / "ca.pem"


@pytest.mark.parametrize("image_format", [ImageFormat.PNG, ImageFormat.JPEG])
def test_a_service_signs_and_both_readers_agree(
    service: str, certificate: Path, own: credentials.Credentials, image_format: ImageFormat
) -> None:
    settings = Settings(c2pa_cert_file=certificate, c2pa_signer_url=service, c2pa_signer_token=TOKEN)
    signer = Signer.load(settings)
    assert signer is not None
    data = Marking(version="1.2.3", signer=signer).write(encode, OutputParams(format=image_format), work()).data
    trusted = signing.read(data, own.anchor.decode())
    assert trusted is not None
    assert (trusted.valid, trusted.trusted) == (True, True)
    seen = reader.read(data)
    assert seen.certificate.subject.rfc4514_string() == "O=Example Org,CN=Example Pictures"
    assert seen.claim["claim_generator_info"]["name"] == "imagegen"
    created = {each["url"].rpartition("/")[2] for each in seen.claim["created_assertions"]}
    assert created == {"c2pa.actions.v2", "c2pa.hash.data", signing.DETAILS}
    (action,) = seen.assertions["c2pa.actions.v2"]["actions"]
    assert action["action"] == "c2pa.created"
    assert action["digitalSourceType"].endswith("/trainedAlgorithmicMedia")
    details = seen.assertions[signing.DETAILS]
    assert (details["family"], details["seed"], details["models"][0]["model_sha256"]) == ("realistic", "7", "ab" * 32)
    assert seen.time_stamp is None


@pytest.mark.parametrize("image_format", [ImageFormat.PNG, ImageFormat.JPEG])
def test_the_reader_of_our_own_reads_local_signatures_and_finds_changes(
    own: credentials.Credentials, image_format: ImageFormat
) -> None:
    marking = Marking(version="1.2.3", signer=Signer(own.chain, own.key))
    first = marking.write(encode, OutputParams(format=image_format), work()).data
    assert reader.read(first).assertions[signing.DETAILS]["seed"] == "7"
    second = marking.write(encode, OutputParams(format=image_format), work(work().origin, inspect(first))).data
    assert [each["action"] for each in reader.read(second).assertions["c2pa.actions.v2"]["actions"]] == [
        "c2pa.opened",
        "c2pa.edited",
    ]
    changed = bytearray(first)
    changed[-20] ^= 1  # a pixel
    with pytest.raises(AssertionError):
        reader.read(bytes(changed))


def test_an_authority_stamps_the_signature(
    own: credentials.Credentials, authority: tuple[str, Path], tmp_path: Path
) -> None:
    url, ca = authority
    signer = Signer(own.chain, own.key, timestamp_url=url)
    data = Marking(version="1.2.3", signer=signer).write(encode, OutputParams(), work()).data
    found = signing.read(data)
    assert found is not None
    assert found.valid
    token = reader.read(data).time_stamp
    assert token is not None
    (tmp_path / "token").write_bytes(token)
    assert "Policy OID: 1.2.3.4" in openssl("ts", "-reply", "-token_in", "-in", "token", "-text", folder=tmp_path)
    verified = ("cms", "-verify", "-inform", "DER", "-in", "token", "-CAfile", str(ca), "-purpose", "any")
    openssl(*verified, "-out", "content", folder=tmp_path)
    assert (tmp_path / "content").stat().st_size


def test_an_authority_that_is_unreachable_is_to_be_tried_again(own: credentials.Credentials, free_port: int) -> None:
    signer = Signer(own.chain, own.key, timestamp_url=f"http://127.0.0.1:{free_port}")
    with pytest.raises(SignerUnavailableError, match="time-stamping authority"):
        Marking(version="1", signer=signer).write(encode, OutputParams(), work())


def test_a_service_that_is_unreachable_is_to_be_tried_again(
    own: credentials.Credentials, free_port: int, silent: str
) -> None:
    for url, words in (
        (f"http://127.0.0.1:{free_port}", "cannot be reached"),
        (silent, "no answer within 0.2 seconds"),
    ):
        signer = Signer(own.chain, RemoteKey(url, "es256", seconds=0.2))
        with pytest.raises(SignerUnavailableError, match=words):
            Marking(version="1", signer=signer).write(encode, OutputParams(), work())


def test_a_service_that_does_not_sign_is_refused_at_start(service: str, certificate: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"IMAGEGEN_C2PA_SIGNER_URL=.*: it answers with status 401"):
        Signer.load(Settings(c2pa_cert_file=certificate, c2pa_signer_url=service, c2pa_signer_token=TOKEN[1:]))
    other = tmp_path / "other.pem"
    other.write_bytes(credentials.create().chain)
    with pytest.raises(SettingsError, match="the key must belong to the certificate"):
        Signer.load(Settings(c2pa_cert_file=other, c2pa_signer_url=service, c2pa_signer_token=TOKEN))


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1::1"])
def test_plain_http_goes_to_no_public_address(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    async def resolve(_host: str, _port: int) -> list[str]:
        return [address]

    monkeypatch.setattr(web_services, "_resolve", resolve)
    with pytest.raises(ServiceError, match=r"a public address: give an https URL"):
        RemoteKey("http://signer.example", "es256").sign(b"x")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"c2pa_cert_file": "a"}, "either IMAGEGEN_C2PA_KEY_FILE or IMAGEGEN_C2PA_SIGNER_URL"),
        (
            {"c2pa_cert_file": "a", "c2pa_key_file": "b", "c2pa_signer_url": "http://127.0.0.1:9"},
            "either IMAGEGEN_C2PA_KEY_FILE or IMAGEGEN_C2PA_SIGNER_URL",
        ),
        ({"c2pa_key_file": "b"}, "needs IMAGEGEN_C2PA_CERT_FILE"),
        ({"c2pa_signer_url": "http://127.0.0.1:9"}, "needs IMAGEGEN_C2PA_CERT_FILE"),
        ({"c2pa_signer_token": "x"}, "needs IMAGEGEN_C2PA_SIGNER_URL"),
    ],
)
def test_settings_that_do_not_go_together(fields: dict[str, str], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        Settings(**{"database_url": "postgresql://x/y", **fields}).check()  # type: ignore[arg-type]  # parsed from text
