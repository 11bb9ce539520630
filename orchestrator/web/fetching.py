"""Clients' pictures by URL: fetched from public addresses only, within bounds of time and size."""

import asyncio
from dataclasses import dataclass

import httpcore2
import httpx2
import structlog

from orchestrator.config import WEB_PORTS, Ports
from orchestrator.errors import InvalidRequestError, Violation
from orchestrator.web import tls_errors
from orchestrator.web.addresses import NotPublicError, PublicNetwork, Resolve
from orchestrator.web.hosts import Hosts, allows
from orchestrator.web.urls import UrlError, parse, redacted, target

log = structlog.get_logger()

_REDIRECTS = {301, 302, 303, 307, 308}
_UNREACHABLE = (httpcore2.ConnectError, httpcore2.ConnectTimeout)
_BROKEN = (httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.TimeoutException)
_HEADERS = [(b"User-Agent", b"imagegen"), (b"Accept", b"image/*,*/*;q=0.5"), (b"Accept-Encoding", b"identity")]


_COMPRESSED = {b"gzip", b"x-gzip", b"deflate", b"br", b"zstd", b"compress", b"x-compress", b"dcb", b"dcz"}
"""Content codings of the IANA's registry. Stores send others that mean nothing (aws-chunked, base64, utf-8, none)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchSettings:
    """Bounds of fetching.

    Attributes:
        seconds: longest time for one picture, redirects and all.
        connect_seconds: longest time for finding a host and connecting to it.
        max_bytes: of the file.
        max_redirects: that are followed.
        max_connections: open at once; what is beyond waits, and its seconds run.
        allow_private: fetch from loopback and private addresses too.
        ports: that may be fetched from.
    """

    seconds: float = 20.0
    connect_seconds: float = 5.0
    max_bytes: int = 32 * 1024 * 1024
    max_redirects: int = 5
    max_connections: int = 32
    allow_private: bool = False
    ports: Ports = WEB_PORTS


class _RefusedError(Exception):
    """A URL or an answer that is not taken; the message is for the client."""


class Fetcher:
    """Fetches files over HTTP/1.1. Knows no cookies, no proxies and no passwords, and unpacks nothing.

    Memory: `max_bytes`, for a moment twice, for each connection.
    """

    def __init__(self, settings: FetchSettings, resolve: Resolve | None = None) -> None:
        """`resolve` replaces the system's resolver in tests."""
        self._settings = settings
        self._network = PublicNetwork(allow_private=settings.allow_private, resolve=resolve)
        self._pool = httpcore2.AsyncConnectionPool(
            max_connections=settings.max_connections,
            max_keepalive_connections=settings.max_connections // 4,
            keepalive_expiry=5.0,
            network_backend=self._network,
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._pool.aclose()
        self._network.close()

    async def fetch(self, url: str, field: str, hosts: Hosts | None = None) -> bytes:
        """The file behind a URL, whatever it is.

        Args:
            url: of clients; nothing about it is known.
            field: of the request, that errors name.
            hosts: that the URL and all redirects must lead to; None for any.

        Raises:
            InvalidRequestError: not an http or https URL; a port, a host or an address that is not allowed, also behind
                a redirect; no answer in time, or one that is not 200, too large or packed; too many redirects.
        """
        said, detail = "", ""
        try:
            async with asyncio.timeout(self._settings.seconds):
                return await self._follow(url, hosts)
        except _RefusedError as refused:
            said = str(refused)
        except NotPublicError as error:
            said, detail = "refers to an address that is not public", repr(error)
        except TimeoutError:
            said = f"did not arrive within {self._settings.seconds:g} seconds"
        except _UNREACHABLE as error:
            why = tls_errors.describe(error) or "cannot be reached"
            said, detail = f"cannot be fetched: its server {why}", repr(error)
        except _BROKEN as error:
            said, detail = "cannot be fetched: its server closed the connection or sent invalid HTTP", repr(error)
        log.info("picture not fetched", field=field, url=redacted(url), said=said, reason=detail)
        raise InvalidRequestError(Violation(field, said))

    async def _follow(self, url: str, hosts: Hosts | None) -> bytes:
        current = self._parsed(url, None)
        for _ in range(self._settings.max_redirects + 1):
            if hosts is not None and not allows(hosts, current):
                raise _RefusedError(f"leads to {current.host[:100]}, which is not one of the account's source hosts")
            answer = await self._get(current)
            if isinstance(answer, bytes):
                return answer
            current = answer
        raise _RefusedError(f"is redirected more than {self._settings.max_redirects} times")

    async def _get(self, url: httpx2.URL) -> bytes | httpx2.URL:
        """The file, or where a redirect says that it is."""
        headers = [(b"Host", url.netloc), *_HEADERS]
        timeouts = {"timeout": {"connect": self._settings.connect_seconds}}
        async with self._pool.stream("GET", target(url), headers=headers, extensions=timeouts) as response:
            fields = {name.lower(): value for name, value in response.headers}
            location = fields.get(b"location")
            if response.status in _REDIRECTS and location is not None:
                return self._parsed(_text(location), url)
            if response.status != 200:
                raise _RefusedError(f"cannot be fetched: its server answers with status {response.status}")
            packed = _COMPRESSED & {one.strip().lower() for one in fields.get(b"content-encoding", b"").split(b",")}
            if packed:
                coding = min(packed).decode()
                raise _RefusedError(f"is sent with the Content-Encoding {coding}, which was not asked for")
            return await self._body(response, fields.get(b"content-length", b""))

    async def _body(self, response: httpcore2.Response, declared: bytes) -> bytes:
        limit = self._settings.max_bytes
        too_large = _RefusedError(f"is larger than {limit} bytes")
        if declared.isdigit() and int(declared[:20]) > limit:
            raise too_large
        file = bytearray()
        async for part in response.aiter_stream():
            file += part
            if len(file) > limit:
                raise too_large
        return bytes(file)

    def _parsed(self, url: str, base: httpx2.URL | None) -> httpx2.URL:
        """A URL that may be asked for; one that a redirect names may be relative to `base`."""
        try:
            return parse(url, base, ports=self._settings.ports)
        except UrlError as error:
            raise _RefusedError(str(error) if base is None else f"is redirected to a URL that {error}") from None


def _text(location: bytes) -> str:
    """A Location as text: servers write UTF-8 as it is, which is percent-encoded later; old ones write Latin-1."""
    try:
        return location.decode()
    except UnicodeDecodeError:
        return location.decode("latin-1")
