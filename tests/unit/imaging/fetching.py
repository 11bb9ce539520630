"""What the tests of fetching share."""

import asyncio

import pytest

from orchestrator.errors import InvalidRequestError
from orchestrator.web.fetching import Fetcher
from tests.integration.web import Page

PICTURE = bytes(range(256)) * 400
PUBLIC = "127.0.0.2"
"""An address of this machine that some tests take for public."""


async def refusal(fetcher: Fetcher, url: str) -> str:
    """What is said of a URL that is not fetched; never anything of the program's own."""
    with pytest.raises(InvalidRequestError) as caught:
        await fetcher.fetch(url, "edit.image")
    (violation,) = caught.value.violations
    assert violation.field == "edit.image"
    for inner in ("Error", "Errno", "httpcore", "Timeout", "127.0", "None", "0x"):
        assert inner not in violation.description
    return violation.description


CHUNKED = b"Transfer-Encoding: chunked\r\n"


def raw(body: bytes, *fields: bytes) -> Page:
    """A page of the body and the header fields that are given."""

    async def page(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n" + b"".join(fields) + b"\r\n" + body)

    return page
