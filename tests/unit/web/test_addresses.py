"""Which addresses are public, whatever Python's patch says."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.web.addresses import is_public
from orchestrator.web.special_networks import CLOUDS, IPV4, IPV6, SPECIAL_IPV4, SPECIAL_IPV6, Special, egress

TABLE = (*IPV4, *IPV6, *CLOUDS)


@pytest.mark.promise(
    "metadata and platform addresses of clouds, IANA's special networks",
    ("a table of our own, whatever Python's patch says, also inside IPv6 (mapped, NAT64, 6to4, Teredo, ISATAP)"),
    "orchestrator/web/special_networks.py",
)
@pytest.mark.parametrize("special", TABLE, ids=lambda special: special.cidr)
def test_no_address_of_the_table_is_public(special: Special) -> None:
    network = ipaddress.ip_network(special.cidr)
    assert special.name
    assert special.source
    for address in (network[0], network[network.num_addresses // 2], network[-1]):
        assert not is_public(str(address)), f"{address}: {special.name}"


@pytest.mark.parametrize(
    "address",
    [
        *("0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.8.9.1"),  # noqa: S104 - not bound
        *("169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.2.1", "192.88.99.1", "192.168.1.1"),
        *("198.18.0.1", "198.51.100.7", "203.0.113.9", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"),
        *("::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254"),
        *("64:ff9b::7f00:1", "64:ff9b::a00:1", "64:ff9b:1::1", "100::1", "2001::1", "2001:db8::1", "2002:7f00:1::"),
        *("2002:a9fe:a9fe::1", "5f00::1", "fc00::1", "fd12:3456::1", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1"),
        # metadata and platform addresses of clouds, public by their number or by some of Python's patches
        *("192.0.0.192", "192.0.0.9", "192.0.0.10", "168.63.129.16", "100.100.100.200", "161.26.0.10", "166.9.1.1"),
        *("fd00:ec2::254", "fd20:ce::254", "3fff::1", "3fff:fff:ffff::1", "100:0:0:1::1", "2001:1::1", "2001:20::1"),
        # the same, inside IPv6
        *("::ffff:192.0.0.192", "::ffff:168.63.129.16", "::ffff:6464:64c8", "64:ff9b::192.0.0.192", "::192.0.0.192"),
        *("64:ff9b::a83f:8110", "64:ff9b:1:a9fe:a9fe::", "2001:0:5ef5:79fb::a9fe:a9fe", "2002:a83f:8110::1"),
        *("::ffff:0:169.254.169.254", "2606:4700::5efe:a9fe:a9fe", "2606:4700::200:5efe:10.0.0.1", "2606:4700::1%eth0"),
        # outside of what the IANA has allocated
        *("4000::1", "1::1", "8000::1", "e000::1", "3ffe::1", "64:ff9a::1", "64:ff9b:0:0:1::1"),
    ],
)
def test_special_addresses_are_not(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        *("1.1.1.1", "9.255.255.255", "11.0.0.1", "100.63.255.255", "100.128.0.1", "172.32.0.1", "223.255.255.255"),
        *("168.63.129.15", "168.63.129.17", "192.0.1.1", "192.0.3.1", "198.17.255.255", "198.20.0.0"),
        *(
            "2606:4700::1",
            "2a00:1450::1",
            "::ffff:1.1.1.1",
            "64:ff9b::101:101",
            "2001:200::1",
            "2606:4700::5efe:101:101",
        ),
    ],
)
def test_others_are(address: str) -> None:
    assert is_public(address)


@given(st.ip_addresses())
def test_what_python_calls_special_is_never_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    nat64 = address in ipaddress.ip_network("64:ff9b::/96")
    if is_public(str(address)) and not nat64 and getattr(address, "ipv4_mapped", None) is None:
        assert address.is_global
        assert not address.is_multicast


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_counts_wherever_it_is_embedded(address: ipaddress.IPv4Address) -> None:
    number = int(address)
    for prefix in ("::ffff:0:0", "64:ff9b::"):
        inside = ipaddress.IPv6Address(int(ipaddress.IPv6Address(prefix)) + number)
        assert is_public(str(inside)) == is_public(str(address))
    for prefix in ("::", "::ffff:0:0:0", "64:ff9b:1::", "2001::"):
        assert not is_public(str(ipaddress.IPv6Address(int(ipaddress.IPv6Address(prefix)) + number)))
    assert not is_public(str(ipaddress.IPv6Address((0x2002 << 112) | (number << 80) | 1)))


@given(st.ip_addresses())
def test_egress_allows_what_is_public_and_nothing_else(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    allowed = False
    for block in egress():
        excepted = block["except"]
        assert isinstance(excepted, list)
        inside = address in ipaddress.ip_network(str(block["cidr"]))
        allowed |= inside and not any(address in ipaddress.ip_network(each) for each in excepted)
    # Mapped addresses are sent as IPv4, and ISATAP's come in every network: a CIDR cannot say so.
    if address.version == 4 or (address.ipv4_mapped is None and address.packed[9:12] != b"\x00\x5e\xfe"):
        assert allowed == is_public(str(address))


def test_the_networks_are_all_of_the_table() -> None:
    for special in TABLE:
        network = ipaddress.ip_network(special.cidr)
        merged = SPECIAL_IPV4 if network.version == 4 else SPECIAL_IPV6
        assert any(network.version == each.version and network.subnet_of(each) for each in merged)  # type: ignore[arg-type]  # of one version
