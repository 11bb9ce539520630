"""Hostile URLs, over gRPC and REST: servers that misbehave, and addresses that are nobody's business."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping

import numpy as np
import pytest
import pytest_asyncio

from imagegen.v1 import generation_pb2 as pb
from orchestrator.web import addresses
from tests.integration.both_protocols import BothProtocols, Said, both, both_here
from tests.integration.hostile_files import GOOD
from tests.integration.pictures import decode, scene
from tests.integration.stack import ADAPTERS_FAMILIES
from tests.integration.web import Web, dripping, endless, file, redirect, serve_web, silent, status

pytestmark = pytest.mark.asyncio(loop_scope="module")

FETCH_SECONDS = 1.5
MAX_BYTES = 2_000_000
MAX_GROWTH = 60.0
"""MB of memory that may be left over, or have been in use, after all these pages."""
OPEN, CLOSED = "127.0.0.2", "127.0.0.1"
"""For the tests of addresses the first is taken as one of the public internet."""


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="web")
async def _web() -> AsyncIterator[Web]:
    async with serve_web() as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="served")
async def _served(adapters_triton: int, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[BothProtocols]:
    """May fetch from loopback."""
    folder = tmp_path_factory.mktemp("urls")
    changes = {"FETCH_PRIVATE": "true", "FETCH_SECONDS": str(FETCH_SECONDS), "MAX_INPUT_BYTES": str(MAX_BYTES)}
    async with both(adapters_triton, ADAPTERS_FAMILIES, folder, **changes, LOG_LEVEL="warning") as found:
        yield found


async def ask(served: BothProtocols, url: str) -> tuple[Said, Said]:
    """Over both protocols at once, gRPC first."""
    return await asyncio.gather(served.grpc(pb.Edit(image=pb.ImageSource(url=url))), served.rest(url=url))


def assert_refused(said: tuple[Said, Said], words: str) -> None:
    """By name of the field, in words, and without any of the program's own."""
    over_grpc, over_rest = said
    assert (over_grpc.code, over_rest.code) == ("INVALID_ARGUMENT", "400"), said
    assert over_grpc.fields[0].startswith("edit.image")
    assert "url" in over_rest.text
    for answer in said:
        assert words in answer.text
        for inner in ("Error", "Traceback", "httpcore", "Errno", "127.0.0", "/work"):
            assert inner not in answer.text


PAGES: Mapping[str, tuple[Callable[[Web], str], str]] = {
    "never answers": (lambda web: web.put("/never", silent()), "did not arrive within 1.5 seconds"),
    "one byte a second": (lambda web: web.put("/drip", dripping(GOOD)), "did not arrive within 1.5 seconds"),
    "redirects in a loop": (lambda web: web.put("/loop", redirect("/loop")), "redirected more than 5 times"),
    "redirects to a file": (lambda web: web.put("/file", redirect("file:///etc/passwd")), "http or https URL"),
    "2 GB behind 1000 bytes": (lambda web: web.put("/liar", endless(declared=1000)), "is not a picture"),
    "2 GB without a length": (lambda web: web.put("/endless", endless(declared=None)), "larger than 2000000 bytes"),
    "2 GB by its length": (lambda web: web.put("/large", file(GOOD, declared=2**31)), "larger than 2000000 bytes"),
    "ends too early": (lambda web: web.put("/short", file(GOOD, declared=len(GOOD) + 9)), "cannot be fetched"),
    "is not there": (lambda web: web.put("/missing", status(404)), "status 404"),
    "nobody listens": (lambda _: "http://127.0.0.1:9/a.png", "cannot be fetched"),
}


@pytest.mark.parametrize("name", [*PAGES])
async def test_a_page_that_misbehaves(served: BothProtocols, web: Web, name: str) -> None:
    make, words = PAGES[name]
    begin = time.monotonic()
    assert_refused(await ask(served, make(web)), words)
    assert time.monotonic() - begin < FETCH_SECONDS + 3


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://127.0.0.1/a.png",
        "gopher://127.0.0.1/a.png",
        "javascript:alert(1)",
        "/etc/passwd",
        "a.png",
    ],
)
async def test_what_is_not_a_web_url(served: BothProtocols, url: str) -> None:
    assert_refused(await ask(served, url), "http")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://user:password@127.0.0.1/a.png", "no user name and no password"),
        ("http://", ""),
        ("http://[::1/a.png", ""),
        ("http://a:99999/a.png", ""),
        ("http://no-such-host.invalid/a.png", "cannot be fetched"),
        ("http://" + "a" * 2042, "2048"),
    ],
)
async def test_a_url_of_a_wrong_form(served: BothProtocols, url: str, words: str) -> None:
    said = await ask(served, url)
    assert_refused(said, words)
    assert "password@" not in said[0].text + said[1].text


async def test_memory_stays_bounded_and_the_service_goes_on(served: BothProtocols, web: Web) -> None:
    """Every page at once, twice; then one that does as it should."""
    good = web.put("/good.png", GOOD)
    await ask(served, good)
    before = served.memory()
    for _ in range(2):
        await asyncio.gather(*(ask(served, make(web)) for make, _ in PAGES.values()))
    assert served.memory() - before < MAX_GROWTH
    assert served.memory("VmHWM") - before < MAX_GROWTH
    for said in await ask(served, good):
        assert np.array_equal(decode(said.picture), scene())


class Names:
    """A resolver. "rebinding.example" is public when it is asked for first, and private ever after."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def resolve(self, host: str, _port: int) -> list[str]:
        """In place of PublicNetwork._ask_system."""
        self.asked.append(host)
        known = {
            "pictures.example": [OPEN],
            "inside.example": ["10.0.0.7"],
            "mixed.example": [OPEN, CLOSED],
            "rebinding.example": [OPEN if self.asked.count(host) == 1 else CLOSED],
        }
        if host in known:
            return known[host]
        found = await asyncio.get_running_loop().getaddrinfo(host, 80)
        return list(dict.fromkeys(str(address[0]) for *_, address in found))


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="secret")
async def _secret() -> AsyncIterator[Web]:
    """A server on loopback that holds a good picture, which nobody shall get."""
    async with serve_web(CLOSED) as server:
        for path in ("/", "/a.png", "/again.png"):
            server.put(path, GOOD)
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="public")
async def _public(secret: Web) -> AsyncIterator[Web]:
    """A server that is taken as public, on the same port."""
    async with serve_web(OPEN, secret.port) as server:
        yield server


@pytest.fixture(scope="module")
def names() -> Names:
    """The resolver of `strict`."""
    return Names()


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="strict")
async def _strict(
    adapters_triton: int, names: Names, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[BothProtocols]:
    """Fetches by the rules, with names of this test."""
    is_public = addresses.is_public
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(addresses, "is_public", lambda text: text == OPEN or is_public(text))
        patch.setattr(addresses.PublicNetwork, "_ask_system", staticmethod(names.resolve))
        async with both_here(adapters_triton, ADAPTERS_FAMILIES, tmp_path_factory.mktemp("strict")) as found:
            yield found


PRIVATE = [
    "http://127.0.0.1:{port}/a.png",
    "http://localhost:{port}/a.png",
    "http://[::1]:{port}/a.png",
    "http://[::ffff:127.0.0.1]:{port}/a.png",
    "http://[::]:{port}/a.png",
    "http://0.0.0.0:{port}/a.png",
    "http://2130706433:{port}/a.png",
    "http://0x7f.1:{port}/a.png",
    "http://127.1:{port}/a.png",
    "http://169.254.169.254/latest/meta-data/",
    "http://[fd00:ec2::254]/latest/meta-data/",
    "http://10.0.0.1/a.png",
    "http://192.168.1.1/a.png",
    "http://192.0.0.192/opc/v1/instance/",
    "http://168.63.129.16/machine/?comp=goalstate",
    "http://[64:ff9b::a83f:8110]/",
    "http://[2002:a83f:8110::1]/",
    "http://inside.example/a.png",
    "http://mixed.example:{port}/a.png",
]


@pytest.mark.parametrize("url", PRIVATE)
@pytest.mark.parametrize("way", ["at once", "by a redirect"])
async def test_a_private_address(strict: BothProtocols, public: Web, secret: Web, url: str, way: str) -> None:
    """Nobody there is asked for anything."""
    url = url.format(port=secret.port)
    if way == "by a redirect":
        url = public.put("/elsewhere", redirect(url))
    assert_refused(await ask(strict, url), "refers to an address that is not public")
    assert dict(secret.asked) == {}


async def test_a_name_that_is_private_the_second_time(
    strict: BothProtocols, public: Web, secret: Web, names: Names
) -> None:
    """The page comes from the public address, and sends on to its own name, which has another address by then."""
    url = public.url("/first", "rebinding.example")
    public.put("/first", redirect("/again.png"))
    for over_grpc in (True, False):
        names.asked.clear()
        task = pb.Edit(image=pb.ImageSource(url=url))
        said = await (strict.grpc(task) if over_grpc else strict.rest(url=url))
        assert "refers to an address that is not public" in said.text
        assert names.asked == ["rebinding.example"] * 2
    assert dict(secret.asked) == {}


async def test_a_public_name(strict: BothProtocols, public: Web) -> None:
    """The rules let pass what they should."""
    public.put("/good.png", GOOD)
    for said in await ask(strict, public.url("/good.png", "pictures.example")):
        assert np.array_equal(decode(said.picture), scene())
