"""Where the settings put the result store, and what they are refused for before anything is served."""

from pathlib import Path

import httpx
import pytest

from common.errors import SettingsError
from orchestrator.config import Settings
from orchestrator.database.pool import Database
from orchestrator.params import ImageFormat
from orchestrator.results.store import ResultStore
from tests.integration.results.s3 import Server
from tests.integration.results.store_harness import PICTURE, read

KEYS = {"AWS_ACCESS_KEY_ID": "AKIAKEY", "AWS_SECRET_ACCESS_KEY": "secret"}
S3_URL = "s3://pictures/results"


def settings(url: str, **changes: object) -> Settings:
    return Settings(results_url=url, **changes)  # type: ignore[arg-type]  # by name


@pytest.mark.parametrize("form", ["{}", "file://{}"])
async def test_a_folder_is_created_and_used(database: Database, tmp_path: Path, form: str) -> None:
    folder = tmp_path / "a b/results"
    url = form.format(str(folder).replace(" ", "%20") if form.startswith("file") else folder)
    store = ResultStore.from_settings(settings(url), database, {})
    name, expires = await store.write(1, PICTURE, ImageFormat.PNG)
    assert [path.name for path in folder.iterdir()] == [name]
    assert store.link(name, expires) == f"http://127.0.0.1:8080/results/{name}"


def test_a_relative_folder_is_where_the_service_runs(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ResultStore.from_settings(settings("here/results"), database, {})
    assert (tmp_path / "here/results").is_dir()


async def test_a_store_finds_what_an_earlier_process_stored(database: Database, tmp_path: Path) -> None:
    chosen = settings(str(tmp_path / "results"))
    name, _ = await ResultStore.from_settings(chosen, database, {}).write(1, PICTURE, ImageFormat.PNG)
    assert await read(await ResultStore.from_settings(chosen, database, {}).open(name)) == PICTURE


def test_a_folder_that_cannot_be_is_refused_at_start(database: Database, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SettingsError, match=r"^IMAGEGEN_RESULTS_URL="):
        ResultStore.from_settings(settings(str(tmp_path / "file")), database, {})


@pytest.mark.parametrize("links", ["presigned", "gateway"])
async def test_s3_is_used_with_the_keys_of_the_environment(
    database: Database, server: Server, monkeypatch: pytest.MonkeyPatch, links: str
) -> None:
    for variable, value in KEYS.items():
        monkeypatch.setenv(variable, value)
    chosen = settings(S3_URL, s3_endpoint=server.url, s3_region="eu-central-1", result_links=links)
    store = ResultStore.from_settings(chosen, database, KEYS)
    name, expires = await store.write(1, PICTURE, ImageFormat.PNG)
    assert server.list_keys() == [f"results/{name}"]
    link = store.link(name, expires)
    if links == "gateway":
        assert link == f"http://127.0.0.1:8080/results/{name}"
    else:
        assert "eu-central-1" in link
        async with httpx.AsyncClient() as client:
            assert (await client.get(link)).content == PICTURE
    server.clear()


def test_links_that_would_end_before_their_picture_are_refused_at_start(database: Database) -> None:
    week = 7 * 86_400.0
    ResultStore.from_settings(settings(S3_URL, result_seconds=week), database, KEYS)
    ResultStore.from_settings(settings(S3_URL, result_seconds=week + 1, result_links="gateway"), database, KEYS)
    with pytest.raises(SettingsError, match=r"^IMAGEGEN_RESULT_SECONDS=604801: .*604800 seconds \(7 days\)"):
        ResultStore.from_settings(settings(S3_URL, result_seconds=week + 1), database, KEYS)


@pytest.mark.parametrize(
    "environ",
    [{}, {"AWS_ACCESS_KEY_ID": "AKIAKEY"}, {**KEYS, "AWS_SESSION_TOKEN": "token"}],
    ids=["none", "half", "role"],
)
def test_links_that_nothing_lasting_can_sign_are_refused_at_start(database: Database, environ: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match=r"^IMAGEGEN_RESULT_LINKS=presigned needs AWS_ACCESS_KEY_ID") as caught:
        ResultStore.from_settings(settings(S3_URL), database, environ)
    assert "token" not in str(caught.value)
    ResultStore.from_settings(settings(S3_URL, result_links="gateway"), database, environ)


def test_a_prefix_that_leads_elsewhere_is_refused_at_start(database: Database) -> None:
    with pytest.raises(SettingsError, match=r"^IMAGEGEN_RESULTS_URL="):
        ResultStore.from_settings(settings("s3://pictures/a/../b", result_links="gateway"), database, {})
