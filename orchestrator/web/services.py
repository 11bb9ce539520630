"""Services that the operator names are asked: in private networks by http too, at public addresses by https alone."""

import asyncio
import socket
from collections.abc import Mapping
from urllib.parse import urlsplit

from orchestrator.config import ANY_PORT
from orchestrator.web.addresses import is_public
from orchestrator.web.posting import Poster, PostError


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
    resolve = _resolve if urlsplit(url).scheme.lower() == "https" else _resolve_private
    poster = Poster(seconds=seconds, max_connections=1, allow_private=True, ports=ANY_PORT, resolve=resolve)
    try:
        answer = await poster.post(url, headers, body, read=most + 1)
    except PostError as error:
        raise ServiceError(f"{error} ({error.detail})" if error.detail else str(error)) from error
    finally:
        await poster.close()
    if answer.status != 200:
        raise ServiceError(f"it answers with status {answer.status}")
    if len(answer.body) > most:
        raise ServiceError(f"it answers with more than {most} bytes")
    if not answer.body:
        raise ServiceError("its answer is empty")
    return answer.body


async def _resolve(host: str, port: int) -> list[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


async def _resolve_private(host: str, port: int) -> list[str]:
    """Addresses that plain HTTP may go to: what travels to public ones can be read and changed on its way."""
    addresses = await _resolve(host, port)
    if public := [address for address in addresses if is_public(address)]:
        raise ServiceError(f"{host} is {public[0]}, a public address: give an https URL")
    return addresses
