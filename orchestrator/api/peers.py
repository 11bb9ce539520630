"""Who is at the other end of a connection, as far as an address shows."""

import ipaddress
from urllib.parse import unquote

IPV6_PREFIX = 64
"""Bits of an IPv6 address that count: what one customer is usually given."""


def peer_of(peer: str) -> str:
    """The address of a gRPC peer without its port: of IPv6 the network of IPV6_PREFIX bits; else what gRPC says."""
    kind, _, rest = peer.partition(":")
    if kind not in {"ipv4", "ipv6"}:
        return kind
    host = unquote(rest).rpartition(":")[0].strip("[]").partition("%")[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, IPV6_PREFIX), strict=False))
