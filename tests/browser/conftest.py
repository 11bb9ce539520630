"""One stack and one browser for all tests of the page."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from local import stack
from local.settings import HOST, Ports, Settings
from tests.browser.page import DRIVER, Page, browser


@pytest.fixture(scope="session", name="running")
def _running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    if DRIVER is None:
        pytest.skip("needs Debian's chromium-driver, which CI installs")
    settings = Settings(state_dir=tmp_path_factory.mktemp("stack") / "state", ports=Ports.free())
    try:
        stack.up(settings)
        with browser() as driver:
            yield Page(driver, settings.rest_url, stack.read_api_key(settings), f"{HOST}:{settings.ports.grpc}")
    finally:
        stack.down(settings)


@pytest.fixture
def page(running: Page) -> Iterator[Page]:
    """Loaded again, on a desktop; at the end the browser has nothing to complain of but refused requests."""
    running.resize(1280, 1000)
    running.open()
    yield running
    expected = ("the server responded with a status of", "net::ERR_INTERNET_DISCONNECTED")
    assert [words for words in running.complaints() if not any(each in words for each in expected)] == []


@pytest.fixture
def downloads(tmp_path: Path) -> Path:
    """A folder for files."""
    return tmp_path
