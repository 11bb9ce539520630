"""Bodies are sent to servers: to public addresses unless others are allowed; time and what is read are bounded."""

import asyncio
import ipaddress
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import httpcore2

from orchestrator.config import WEB_PORTS, Ports
from orchestrator.web import tls_errors
from orchestrator.web.addresses import NotPublicError, PublicNetwork, Resolve
from orchestrator.web.urls import UrlError, parse, target

CONNECT_SECONDS = 5.0
_UNREACHABLE = (httpcore2.ConnectError, httpcore2.ConnectTimeout)
_BROKEN = (httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.TimeoutException)


class PostError(Exception):
    """There was no answer. The message is for the owner of the URL, `detail` for the log."""

    def __init__(self, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server has answered.

    Attributes:
        status: of HTTP.
        retry_after: for how many seconds the server does not want to be asked again, if it says so.
        body: as much of it as was asked for.
    """

    status: int
    retry_after: float | None
    body: bytes = b""


class Poster:
    """Sends bodies over HTTP/1.1. Follows no redirects, knows no cookies, no proxies and no passwords."""

    def __init__(
        self,
        *,
        seconds: float,
        max_connections: int,
        allow_private: bool,
        ports: Ports = WEB_PORTS,
        resolve: Resolve | None = None,
    ) -> None:
        """Nothing is opened yet.

        Args:
            seconds: longest time from the search for the host to the head of its answer.
            max_connections: open at once.
            allow_private: send to loopback and private addresses too.
            ports: that may be sent to.
            resolve: replaces the system's resolver in tests.
        """
        self._seconds, self._ports = seconds, ports
        self._network = PublicNetwork(allow_private=allow_private, resolve=resolve)
        self._pool = httpcore2.AsyncConnectionPool(
            max_connections=max_connections,
            max_keepalive_connections=0,  # a receiver that is asked again later may have other addresses then
            network_backend=self._network,
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._pool.aclose()
        self._network.close()

    async def locate(self, url: str) -> str:
        """The network address that a URL's host resolves to: an IPv4 address, or the first half of an IPv6 one.

        Raises:
            PostError: the URL may not be asked for, or its host is not found in time.
        """
        with _reported(self._seconds):
            async with asyncio.timeout(CONNECT_SECONDS):
                parsed = parse(url, ports=self._ports)
                address = ipaddress.ip_address(await self._network.locate(parsed.host, parsed.port or 0))
        if isinstance(address, ipaddress.IPv6Address):
            return str(ipaddress.IPv6Network((address, 64), strict=False))  # one host's, as a rule
        return str(address)

    async def post(self, url: str, headers: Mapping[str, str], body: bytes, *, read: int = 0) -> Answer:
        """Send a body, JSON unless the headers have another type; whatever status comes back is an answer.

        `read` is how many bytes of the answer are read, at the least if it has as many.

        Raises:
            PostError: the URL may not be asked for, or nothing came back in time.
        """
        with _reported(self._seconds):
            async with asyncio.timeout(self._seconds):
                return await self._post(url, headers, body, read)

    async def _post(self, url: str, headers: Mapping[str, str], body: bytes, read: int) -> Answer:
        parsed = parse(url, ports=self._ports)
        named = {"User-Agent": "imagegen", "Content-Type": "application/json", "Content-Length": str(len(body))}
        fields = [(b"Host", parsed.netloc), *((k.encode(), v.encode()) for k, v in (named | dict(headers)).items())]
        timeouts = {"timeout": {"connect": CONNECT_SECONDS}}
        call = self._pool.stream("POST", target(parsed), headers=fields, content=body, extensions=timeouts)
        async with call as response:
            received = {name.lower(): value for name, value in response.headers}
            after = received.get(b"retry-after", b"")[:10]
            answer = bytearray()
            if read:
                async for part in response.aiter_stream():
                    answer += part
                    if len(answer) >= read:
                        break
            return Answer(response.status, float(after) if after.isdigit() else None, bytes(answer))


@contextmanager
def _reported(seconds: float) -> Iterator[None]:
    """What goes wrong, as PostError."""
    try:
        yield
    except UrlError as error:
        raise PostError(f"the URL {error}") from None
    except NotPublicError as error:
        raise PostError("the address is not public", repr(error)) from error
    except TimeoutError:
        raise PostError(f"no answer within {seconds:g} seconds") from None
    except _UNREACHABLE as error:
        raise PostError(f"the server {tls_errors.describe(error) or 'cannot be reached'}", repr(error)) from error
    except _BROKEN as error:
        raise PostError("the server closed the connection or sent invalid HTTP", repr(error)) from error
