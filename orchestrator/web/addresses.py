"""Which hosts may be asked for anything: names are resolved here, and what is connected to is what was looked at.

The check is where sockets are opened, so no redirect, no odd spelling of an address (0x7f.1, 2130706433), and no
name that resolves to something else the second time goes round it.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import httpcore2
from httpcore2 import AsyncNetworkBackend, AsyncNetworkStream

from orchestrator.web.special_networks import GLOBAL_UNICAST, NAT64, SPECIAL_IPV4, SPECIAL_IPV6

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""The addresses of a host name, for a port; OSError or UnicodeError where there are none."""

RESOLVERS = 8
"""Threads that wait for name servers: their own, so that slow ones hold up nothing else."""

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_ISATAP = {b"\x00\x00\x5e\xfe", b"\x02\x00\x5e\xfe"}  # RFC 5214, 6.1: an IPv4 address follows in the last 32 bits


class NotPublicError(httpcore2.ConnectError):
    """A host has an address that is not public. The message names both, for the log and not for the client."""


def is_public(text: str) -> bool:
    """Whether an address belongs to the public internet, by the table of special_networks.py.

    An IPv4 address inside an IPv6 one (mapped, NAT64, ISATAP) must be public itself; compatible ones, 6to4, Teredo and
    NAT64 of local use are refused, and so is an address with a zone.

    Raises:
        ValueError: `text` is not an address.
    """
    address: _Address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in SPECIAL_IPV4)
    if address.scope_id is not None:
        return False
    if address.ipv4_mapped is not None:
        return is_public(str(address.ipv4_mapped))
    if address in NAT64 or address.packed[8:12] in _ISATAP:
        embedded = ipaddress.IPv4Address(address.packed[-4:])
        if not is_public(str(embedded)):
            return False
    return address in NAT64 or (address in GLOBAL_UNICAST and not any(address in network for network in SPECIAL_IPV6))


def is_private_literal(host: str) -> bool:
    """Whether a host is written as an address, and not a public one. Names, and odd spellings, are looked at later."""
    try:
        return not is_public(host)
    except ValueError:
        return False


class PublicNetwork(AsyncNetworkBackend):
    """Opens connections to public addresses only.

    Attributes:
        allow_private: connect to any address, for tests and closed networks.
        resolve: in place of the system's resolver.
    """

    def __init__(self, *, allow_private: bool = False, resolve: Resolve | None = None) -> None:
        self._allow_private = allow_private
        self._threads = ThreadPoolExecutor(RESOLVERS, thread_name_prefix="resolve")
        self._resolve = resolve or self._ask_system
        self._network = httpcore2.AnyIOBackend()

    def close(self) -> None:
        """Give the threads back; those that still wait for a name server end with its answer."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's interface
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> AsyncNetworkStream:
        """Connect to the first address of `host` that answers, all of them public.

        Raises:
            NotPublicError: one of them is not.
            httpcore2.ConnectError: there is no such host, or none of its addresses answers.
            httpcore2.ConnectTimeout: all of this took more than `timeout` seconds.
        """
        loop = asyncio.get_running_loop()
        end = None if timeout is None else loop.time() + timeout
        addresses = await self._addresses(host, port, timeout)
        failed: Exception = httpcore2.ConnectError(f"{host} has no address")
        for index, address in enumerate(addresses):
            # Each address has its share of the remaining time, so that one that does not answer leaves time for the
            # next.
            share = None if end is None else max(0.0, end - loop.time()) / (len(addresses) - index)
            try:
                return await self._network.connect_tcp(address, port, share, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failed = error
        raise failed

    async def locate(self, host: str, port: int) -> str:
        """The first of a host's addresses, in numerical order.

        Raises:
            NotPublicError, httpcore2.ConnectError: as connect_tcp.
        """
        addresses = await self._addresses(host, port, None)
        if not addresses:
            raise httpcore2.ConnectError(f"{host} has no address")
        return min(addresses)

    async def _addresses(self, host: str, port: int, seconds: float | None) -> list[str]:
        try:
            async with asyncio.timeout(seconds):
                addresses = await self._resolve(host, port)
        except TimeoutError as error:
            raise httpcore2.ConnectTimeout(f"{host} is not resolved in time") from error
        except (OSError, UnicodeError) as error:
            raise httpcore2.ConnectError(f"{host} is not resolved: {error}") from error
        refused = [address for address in addresses if not is_public(address)]
        if refused and not self._allow_private:
            raise NotPublicError(f"{host} is {', '.join(refused)}")
        return addresses

    async def _ask_system(self, host: str, port: int) -> list[str]:
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(
            self._threads, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
        )
        return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))
