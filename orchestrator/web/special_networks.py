"""Networks that no client's URL may lead to: every special block of the IANA's registries, and platforms of clouds.

A table of our own, because the standard library's changes with each patch of Python (192.0.0.0/24 counts as global in
3.11.7 and not in later ones). The chart's NetworkPolicy lists the same networks; `tests/deploy/test_egress.py` holds
the two together.

Sources: IANA IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890, as of 2025), IPv4 Multicast Address Space
Registry (RFC 5771), IPv6 Address Space Registry (RFC 4291), and the documentation of the clouds.
"""

import ipaddress
from typing import NamedTuple

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Special(NamedTuple):
    """A network that is not the public internet.

    Attributes:
        cidr: its addresses.
        name: what the registry, or the cloud, calls it.
        source: the document that assigns it.
    """

    cidr: str
    name: str
    source: str


IPV4 = (
    Special("0.0.0.0/8", "this network", "RFC 791"),
    Special("0.0.0.0/32", "this host on this network", "RFC 1122"),
    Special("10.0.0.0/8", "private use", "RFC 1918"),
    Special("100.64.0.0/10", "shared address space of carriers", "RFC 6598"),
    Special("127.0.0.0/8", "loopback", "RFC 1122"),
    Special("169.254.0.0/16", "link-local", "RFC 3927"),
    Special("172.16.0.0/12", "private use", "RFC 1918"),
    Special("192.0.0.0/24", "IETF protocol assignments", "RFC 6890"),
    Special("192.0.0.0/29", "IPv4 service continuity prefix", "RFC 7335"),
    Special("192.0.0.8/32", "IPv4 dummy address", "RFC 7600"),
    Special("192.0.0.9/32", "Port Control Protocol anycast", "RFC 7723"),
    Special("192.0.0.10/32", "TURN anycast", "RFC 8155"),
    Special("192.0.0.170/31", "NAT64/DNS64 discovery", "RFC 7050"),
    Special("192.0.2.0/24", "documentation (TEST-NET-1)", "RFC 5737"),
    Special("192.31.196.0/24", "AS112-v4", "RFC 7535"),
    Special("192.52.193.0/24", "AMT relays", "RFC 7450"),
    Special("192.88.99.0/24", "6to4 relay anycast, withdrawn", "RFC 7526"),
    Special("192.168.0.0/16", "private use", "RFC 1918"),
    Special("192.175.48.0/24", "direct delegation AS112 service", "RFC 7534"),
    Special("198.18.0.0/15", "benchmarking", "RFC 2544"),
    Special("198.51.100.0/24", "documentation (TEST-NET-2)", "RFC 5737"),
    Special("203.0.113.0/24", "documentation (TEST-NET-3)", "RFC 5737"),
    Special("224.0.0.0/4", "multicast", "RFC 5771"),
    Special("240.0.0.0/4", "reserved", "RFC 1112"),
    Special("255.255.255.255/32", "limited broadcast", "RFC 8190"),
)

IPV6 = (
    Special("::/128", "unspecified", "RFC 4291"),
    Special("::1/128", "loopback", "RFC 4291"),
    Special("::/96", "IPv4-compatible, deprecated", "RFC 4291"),
    Special("::ffff:0:0:0/96", "IPv4-translated (SIIT)", "RFC 2765"),
    Special("64:ff9b:1::/48", "NAT64, local use", "RFC 8215"),
    Special("100::/64", "discard only", "RFC 6666"),
    Special("100:0:0:1::/64", "dummy prefix", "RFC 9780"),
    Special("2001::/23", "IETF protocol assignments", "RFC 2928"),
    Special("2001::/32", "Teredo", "RFC 4380"),
    Special("2001:1::1/128", "Port Control Protocol anycast", "RFC 7723"),
    Special("2001:1::2/128", "TURN anycast", "RFC 8155"),
    Special("2001:1::3/128", "DNS-SD service registration anycast", "RFC 9665"),
    Special("2001:2::/48", "benchmarking", "RFC 5180"),
    Special("2001:3::/32", "AMT", "RFC 7450"),
    Special("2001:4:112::/48", "AS112-v6", "RFC 7535"),
    Special("2001:10::/28", "ORCHID, deprecated", "RFC 4843"),
    Special("2001:20::/28", "ORCHIDv2", "RFC 7343"),
    Special("2001:30::/28", "drone remote identification", "RFC 9374"),
    Special("2001:db8::/32", "documentation", "RFC 3849"),
    Special("2002::/16", "6to4: an IPv4 address is inside; its relays are withdrawn", "RFC 3056, RFC 7526"),
    Special("2620:4f:8000::/48", "direct delegation AS112 service", "RFC 7534"),
    Special("3ffe::/16", "6bone, returned", "RFC 3701"),
    Special("3fff::/20", "documentation", "RFC 9637"),
    Special("5f00::/16", "segment routing (SRv6) identifiers", "RFC 9602"),
    Special("fc00::/7", "unique local", "RFC 4193"),
    Special("fe80::/10", "link-local", "RFC 4291"),
    Special("fec0::/10", "site-local, deprecated", "RFC 3879"),
    Special("ff00::/8", "multicast", "RFC 4291"),
)

CLOUDS = (
    Special("168.63.129.16/32", "Azure: platform, wire server and DNS; public by its number", "Azure documentation"),
    Special("161.26.0.0/16", "IBM Cloud: platform services; public by its number", "IBM Cloud VPC documentation"),
    Special("166.8.0.0/14", "IBM Cloud: service endpoints; public by its number", "IBM Cloud VPC documentation"),
    Special("192.0.0.192/32", "Oracle Cloud Classic: metadata", "Oracle Cloud documentation"),
    Special("169.254.169.254/32", "AWS, Azure, Google, Oracle, OpenStack and others: metadata", "AWS documentation"),
    Special("169.254.170.2/32", "AWS ECS: credentials of tasks", "AWS documentation"),
    Special("169.254.170.23/32", "AWS EKS: credentials of pods", "AWS documentation"),
    Special("169.254.42.42/32", "Scaleway: metadata", "Scaleway documentation"),
    Special("169.254.0.23/32", "Tencent Cloud: metadata", "Tencent Cloud documentation"),
    Special("100.100.100.200/32", "Alibaba Cloud: metadata", "Alibaba Cloud documentation"),
    Special("fd00:ec2::254/128", "AWS: metadata", "AWS documentation"),
    Special("fd00:ec2::23/128", "AWS EKS: credentials of pods", "AWS documentation"),
    Special("fd20:ce::254/128", "Google Cloud: metadata", "Google Cloud documentation"),
    Special("fd00:42::42/128", "Scaleway: metadata", "Scaleway documentation"),
    Special("fd00:a9fe:a9fe::1/128", "Akamai (Linode): metadata", "Akamai documentation"),
)

GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
"""RFC 4291, 2.4: all IPv6 addresses that the IANA has allocated to the public internet."""
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""RFC 6052: an IPv4 address is in the last 32 bits, and decides."""


def _collapsed() -> tuple[tuple[ipaddress.IPv4Network, ...], tuple[ipaddress.IPv6Network, ...]]:
    networks = [ipaddress.ip_network(special.cidr) for special in (*IPV4, *IPV6, *CLOUDS)]
    ipv4 = [network for network in networks if isinstance(network, ipaddress.IPv4Network)]
    ipv6 = [network for network in networks if isinstance(network, ipaddress.IPv6Network)]
    return tuple(ipaddress.collapse_addresses(ipv4)), tuple(ipaddress.collapse_addresses(ipv6))


SPECIAL_IPV4, SPECIAL_IPV6 = _collapsed()
"""All of the table, without those that are inside others."""


def egress() -> list[dict[str, object]]:
    """The public internet as blocks of a Kubernetes NetworkPolicy: `cidr`, and `except` what is special inside it."""
    public = [network for network in SPECIAL_IPV6 if network.subnet_of(GLOBAL_UNICAST)]
    base = int(NAT64.network_address)
    translated = [
        ipaddress.IPv6Network((base + int(network.network_address), 96 + network.prefixlen)) for network in SPECIAL_IPV4
    ]
    return [
        {"cidr": "0.0.0.0/0", "except": [str(network) for network in SPECIAL_IPV4]},
        {"cidr": str(GLOBAL_UNICAST), "except": [str(network) for network in public]},
        {"cidr": str(NAT64), "except": [str(network) for network in translated]},
    ]
