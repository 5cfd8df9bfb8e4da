from __future__ import annotations

from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cozy.ports.limits import counted_as


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        pytest.param("192.0.2.7", "192.0.2.7", id="IPv4"),
        pytest.param("2001:DB8:0:5:6:7:8:9", "2001:db8:0:5::/64", id="IPv6"),
        pytest.param("::1", "::/64", id="loopback"),
        pytest.param("fe80::1%eth0", "fe80::/64", id="with its zone"),
        pytest.param("::ffff:192.0.2.7", "192.0.2.7", id="IPv4 as IPv6"),
        pytest.param("", "", id="nobody knows"),
        pytest.param("unknown", "unknown", id="no address"),
    ],
)
def test_an_address_is_counted_with_its_network(address: str, counted: str) -> None:
    assert counted_as(address) == counted


@given(st.ip_addresses(v=6), st.integers(0, 2**64 - 1))
def test_wherever_in_its_network_a_client_moves_it_is_counted_as_one(
    address: IPv6Address, elsewhere: int
) -> None:
    if address.ipv4_mapped is None and (moved := IPv6Address(int(address) >> 64 << 64 | elsewhere)):
        assert moved.ipv4_mapped is not None or counted_as(str(moved)) == counted_as(str(address))


@given(st.text())
def test_anything_can_be_counted(text: str) -> None:
    assert isinstance(counted_as(text), str)
