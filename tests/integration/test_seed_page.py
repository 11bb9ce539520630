"""The documentation page's own examples, word for word, with the starter; its pictures are local ones.

tests/data/seed_page.json holds the page's JSON blocks in its order, the one of its curl command last; the page itself
is in shared/seed/image-generation.txt, where a checkout has that.
"""

import asyncio
import copy
import json
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import cv2
import numpy as np
import pytest
import pytest_asyncio

from local import triton
from orchestrator.arrays import Pixels
from tests.integration.both_protocols import BothProtocols, both
from tests.integration.pictures import decode
from tests.integration.stack import REPOSITORY
from tests.integration.web import Web, serve_web

pytestmark = pytest.mark.asyncio(loop_scope="module")

EXAMPLES: list[dict[str, Any]] = json.loads((REPOSITORY / "tests/data/seed_page.json").read_text("utf-8"))
PAGES = [folder / "shared/seed/image-generation.txt" for folder in (REPOSITORY, REPOSITORY.parent)]

PICTURES = {
    "https://deep-image.ai/api-example.png": "coffee.jpg",
    "https://deep-image.ai/api-example3.jpg": "astronaut.jpg",
}
"""The page's pictures, which are not ours to copy, and what replaces them here: a thing, and a person."""

SIZES = [(2048, 1024), (2048, 1024), (1024, 1024), (1024, 1024), (512, 512), (3000, 2000)]
"""Of the answers. The fifth has no size, and keeps its picture's; the sixth gives the width alone. The seventh is the
sixth as a curl command, and is not drawn twice."""

WAIT_SECONDS = 200.0


@pytest.fixture(scope="module")
def starter_triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """GRPC port of a Triton with the repository's own models."""
    with triton.running([REPOSITORY / "model_repository"], tmp_path_factory.mktemp("triton")) as server:
        yield server.grpc_port


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="served")
async def _served(starter_triton: int, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[BothProtocols]:
    folder, families = tmp_path_factory.mktemp("seed"), REPOSITORY / "families/families.toml"
    async with both(starter_triton, families, folder, FETCH_PRIVATE="true", LOG_LEVEL="warning") as found:
        yield found


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="web")
async def _web() -> AsyncIterator[Web]:
    async with serve_web() as server:
        yield server


def blocks(page: str) -> Iterator[dict[str, Any]]:
    """The JSON objects of a page, in its order."""
    decoder, start = json.JSONDecoder(), page.find("{")
    while start >= 0:
        try:
            found, end = decoder.raw_decode(page, start)
        except json.JSONDecodeError:  # the page's Python has braces too
            end = start + 1
        else:
            yield found
        start = page.find("{", end)


async def test_the_examples_are_the_pages() -> None:
    pages = [path for path in PAGES if path.is_file()]
    if not pages:
        pytest.skip("this checkout has no shared/ with the page")
    assert list(blocks(pages[0].read_text("utf-8"))) == EXAMPLES
    assert EXAMPLES[6] == EXAMPLES[5]


@pytest.mark.timeout(240)
@pytest.mark.parametrize("number", range(len(SIZES)))
async def test_an_example(served: BothProtocols, web: Web, number: int) -> None:
    """It is complete, of the page's size, and shows something."""
    body = copy.deepcopy(EXAMPLES[number])
    if "url" in body:
        name = PICTURES[body["url"]]
        body["url"] = web.put(f"/{name}", (REPOSITORY / "local/pictures" / name).read_bytes())
    picture = decode(await drawn(served, body))
    assert (picture.shape[1], picture.shape[0]) == SIZES[number]
    assert picture[..., :3].std() > 5
    if "url" in body and "background" not in body:
        assert_like(picture, PICTURES[EXAMPLES[number]["url"]])


async def drawn(served: BothProtocols, body: dict[str, Any]) -> bytes:
    """The picture, asked for as the documents say: once, and, while it is in progress, by its job."""
    answer = (await served.http.post("/rest_api/process_result", json=body)).json()
    end = time.monotonic() + WAIT_SECONDS
    while answer["status"] == "in_progress" and time.monotonic() < end:
        await asyncio.sleep(0.5)  # a client can only ask again
        answer = (await served.http.get(f"/rest_api/result/{answer['job']}")).json()
    assert answer["status"] == "complete", answer
    return (await served.http.get(answer["result_url"])).content


def assert_like(picture: Pixels, name: str) -> None:
    """An enlargement is its picture: shrunk again, it differs by little."""
    source = decode((REPOSITORY / "local/pictures" / name).read_bytes())
    again = cv2.resize(picture[..., :3], (source.shape[1], source.shape[0]), interpolation=cv2.INTER_AREA)
    assert np.abs(again.astype(int) - source).mean() < 16
