"""Lists of hosts that an operator allows: exact names, and "*.suffix" for every name below one."""

import ipaddress
import re
from collections.abc import Iterable

import httpx2

Hosts = tuple[str, ...]
"""Patterns in lower case, international names in their ASCII form."""

MAX_HOSTS = 100
"""Patterns of a list."""
_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*")


def parse_hosts(text: str) -> Hosts:
    """A comma-separated list of hosts: pictures.example, *.cdn.example, 192.0.2.7 or [2001:db8::7].

    Raises:
        ValueError: one is not a host, or there are none, or more than MAX_HOSTS; the message says which.
    """
    written = [each.strip() for each in text.split(",") if each.strip()]
    if not 1 <= len(written) <= MAX_HOSTS:
        raise ValueError(f"give 1 to {MAX_HOSTS} hosts, separated by commas")
    return tuple(dict.fromkeys(_pattern(each) for each in written))


def allows(hosts: Iterable[str], url: httpx2.URL) -> bool:
    """Whether the host of a URL is in a list. "*.cdn.example" does not contain "cdn.example" itself."""
    host = _normal(url)
    if not _is_host(host):  # a backslash, say, which resolvers read as an escape
        return False
    return any(host.endswith(each[1:]) if each.startswith("*.") else host == each for each in hosts)


def _pattern(written: str) -> str:
    name = written.removeprefix("*.")
    wildcard = written[: len(written) - len(name)]
    try:
        host = _normal(httpx2.URL(scheme="http", host=name.removeprefix("[").removesuffix("]")))
    except (httpx2.InvalidURL, ValueError):
        host = ""
    is_address = ":" in host
    if not _is_host(host) or is_address != name.startswith("[") or (is_address and wildcard):
        text = "give a name, *.NAME, an IPv4 address or an IPv6 address in brackets; no scheme, port or path"
        raise ValueError(f"{written[:100]!r} is not a host: {text}")
    return wildcard + host


def _is_host(normal: str) -> bool:
    return ":" in normal or (len(normal) <= 253 and _NAME.fullmatch(normal) is not None)


def _normal(url: httpx2.URL) -> str:
    host = url.raw_host.decode("ascii").lower().removesuffix(".")
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return host
