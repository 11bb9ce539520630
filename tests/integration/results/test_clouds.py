"""Pictures and models in Google's and Azure's storage, by the identity of a pod: no key is set anywhere."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from common.errors import SettingsError
from orchestrator.config import Settings
from orchestrator.results.faults import MissingError, RefusedError
from orchestrator.results.location import open_bucket
from orchestrator.results.store import ResultStore
from tests.integration.results import clouds

URLS = (f"gs://{clouds.BUCKET}/a/b", f"az://{clouds.BUCKET}/a/b")


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[clouds.Cloud]:
    """A cloud whose variables this process has, and no other's."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "GOOGLE_", "AZURE_", "GCE_", "IDENTITY_", "MSI_")):
            monkeypatch.delenv(name)
    (tmp_path / "token").write_text(clouds.ASSERTION)
    with clouds.running() as found:
        for name, value in {**found.google(), **found.azure(str(tmp_path / "token"))}.items():
            monkeypatch.setenv(name, value)
        yield found


def settings(url: str) -> Settings:
    return Settings(database_url="postgresql://nowhere", results_url=url, azure_account=clouds.ACCOUNT)


@pytest.mark.parametrize("url", URLS)
async def test_an_object_is_written_read_and_removed_by_the_pods_identity(url: str, cloud: clouds.Cloud) -> None:
    bucket = open_bucket(settings(url))
    await bucket.put("c/picture.png", b"abc", "image/png")
    assert cloud.objects == {f"{clouds.BUCKET}/a/b/c/picture.png": (b"abc", "image/png")}
    assert await bucket.read("c/picture.png", 10) == b"abc"
    await bucket.delete("c/picture.png")
    await bucket.delete("c/picture.png")  # what is gone already is not an error
    assert cloud.objects == {}
    with pytest.raises(MissingError):
        await bucket.read("c/picture.png", 10)
    assert cloud.tokens == 1, "a token is asked for once, not for every object"
    await bucket.check_space()
    assert not bucket.signs


@pytest.mark.parametrize("url", [each.replace(clouds.BUCKET, "another") for each in URLS])
async def test_a_bucket_that_does_not_exist_is_not_an_object_that_is_missing(url: str, cloud: clouds.Cloud) -> None:
    assert cloud.port
    bucket = open_bucket(settings(url))
    with pytest.raises(RefusedError):
        await bucket.read("c", 10)
    with pytest.raises(RefusedError):
        await bucket.put("c", b"abc", "image/png")


@pytest.mark.parametrize("url", URLS)
def test_models_are_fetched_by_the_pods_identity(url: str, cloud: clouds.Cloud, tmp_path: Path) -> None:
    data = b"a network"
    line = f"{hashlib.sha256(data).hexdigest()}  unet/1/model.onnx\n"
    for name, content in (("models.sha256", line.encode()), ("unet/1/model.onnx", data)):
        cloud.objects[f"{clouds.BUCKET}/a/b/{name}"] = (content, "text/plain")
    command = [sys.executable, "-m", "orchestrator.results.fetch_models", url, str(tmp_path / "models")]
    environment = {**os.environ, "IMAGEGEN_AZURE_ACCOUNT": clouds.ACCOUNT}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 - ours
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "models/unet/1/model.onnx").read_bytes() == data


def test_a_container_needs_its_account(cloud: clouds.Cloud) -> None:
    assert cloud.port
    with pytest.raises(SettingsError, match="IMAGEGEN_AZURE_ACCOUNT"):
        open_bucket(Settings(database_url="postgresql://nowhere", results_url=URLS[1]))
    for name, value in (("RESULTS_URL", "gs://A/b"), ("RESULTS_URL", "az://"), ("AZURE_ACCOUNT", "No-Account")):
        variables = {"IMAGEGEN_DATABASE_URL": "postgresql://nowhere", f"IMAGEGEN_{name}": value}
        with pytest.raises(SettingsError, match=f"IMAGEGEN_{name}"):
            Settings.from_env(variables)


@pytest.mark.parametrize("url", URLS)
def test_links_lead_to_the_gateway(url: str, cloud: clouds.Cloud) -> None:
    """`presigned` is S3's; no start is refused for it, as it is the default."""
    assert cloud.port
    store = ResultStore.from_settings(settings(url), None, {})  # type: ignore[arg-type]  # it asks no database
    assert store.link("a.png", datetime.now(UTC)) == "http://127.0.0.1:8080/results/a.png"
