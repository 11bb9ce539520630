"""Services that the operator names are asked: in private networks by http too, at public addresses by https alone."""

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping

import httpcore2

from orchestrator.config import ANY_PORT
from orchestrator.web import tls_errors
from orchestrator.web.addresses import PublicNetwork, is_public
from orchestrator.web.urls import UrlError, parse


class ServiceError(Exception):
    """A service gave no answer that can be used. The message is for the operator."""


async def post(url: str, headers: Mapping[str, str], body: bytes, *, seconds: float, most: int) -> bytes:
    """What a service answers to a body of bytes. Follows no redirects, knows no cookies and no proxies.

    Args:
        url: of the service.
        headers: to be sent along.
        body: to be sent.
        seconds: longest time, from the search for the host to the end of the answer.
        most: bytes that the answer may have.

    Raises:
        ServiceError: it answers with another status than 200, with nothing or with too much, or not in time.
    """
    try:
        async with asyncio.timeout(seconds):
            return await _post(url, headers, body, most)
    except UrlError as error:
        raise ServiceError(f"its URL {error}") from error
    except TimeoutError as error:
        raise ServiceError(f"no answer within {seconds:g} seconds") from error
    except (httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.TimeoutException) as error:
        raise ServiceError(f"it {tls_errors.describe(error) or f'cannot be reached: {error!r}'}") from error


async def _post(url: str, headers: Mapping[str, str], body: bytes, most: int) -> bytes:
    parsed = parse(url, ports=ANY_PORT)
    network = PublicNetwork(allow_private=True, resolve=_resolve if parsed.scheme == "https" else _resolve_private)
    target = httpcore2.URL(scheme=parsed.raw_scheme, host=parsed.raw_host, port=parsed.port, target=parsed.raw_path)
    named = {"User-Agent": "imagegen", "Content-Length": str(len(body)), **headers}
    fields = [(b"Host", parsed.netloc), *((name.encode(), value.encode()) for name, value in named.items())]
    try:
        async with (
            httpcore2.AsyncConnectionPool(network_backend=network) as pool,
            pool.stream("POST", target, headers=fields, content=body) as response,
        ):
            if response.status != 200:
                raise ServiceError(f"it answers with status {response.status}")
            return await _read(response.aiter_stream(), most)
    finally:
        network.close()


async def _read(chunks: AsyncIterator[bytes], most: int) -> bytes:
    body = b""
    async for chunk in chunks:
        body += chunk
        if len(body) > most:
            raise ServiceError(f"it answers with more than {most} bytes")
    if not body:
        raise ServiceError("its answer is empty")
    return body


async def _resolve(host: str, port: int) -> list[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


async def _resolve_private(host: str, port: int) -> list[str]:
    """Addresses that plain HTTP may go to: what travels to public ones can be read and changed on its way."""
    addresses = await _resolve(host, port)
    if public := [address for address in addresses if is_public(address)]:
        raise ServiceError(f"{host} is {public[0]}, a public address: give an https URL")
    return addresses
