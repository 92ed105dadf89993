"""Addresses that one stranger has at will are one source."""

import pytest

from broker.identity.source import source_of_peer


@pytest.mark.parametrize(
    ("peer", "source"),
    [
        ("192.0.2.1:40000", "192.0.2.1"),
        ("[::ffff:192.0.2.1]:40000", "192.0.2.1"),
        ("[2001:db8:1:2:3:4:5:6]:40000", "2001:db8:1:2::/64"),
        ("[2001:db8:1:2::1]:40000", "2001:db8:1:2::/64"),
        ("[2001:db8:1:3::1]:40000", "2001:db8:1:3::/64"),
        ("[fe80::1%eth0]:40000", "fe80::/64"),
        ("unix", "unix"),
    ],
)
def test_a_source_is_an_ipv4_address_or_the_network_of_an_ipv6_address(peer: str, source: str) -> None:
    assert source_of_peer(peer) == source
