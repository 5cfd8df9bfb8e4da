from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cozy.interfaces.http.exchange import begin_exchange, client_address, exchange_of


@pytest.mark.parametrize(
    ("peer", "forwarded", "trusted", "address"),
    [
        pytest.param("9.9.9.9", "", (), "9.9.9.9", id="no proxy"),
        pytest.param("9.9.9.9", "1.1.1.1", (), "9.9.9.9", id="anybody may write the header"),
        pytest.param("10.0.0.1", "1.1.1.1", ("10.0.0.0/8",), "1.1.1.1", id="a trusted proxy"),
        pytest.param("10.0.0.1", "6.6.6.6, 1.1.1.1", ("10.0.0.0/8",), "1.1.1.1", id="a made up hop before"),
        pytest.param("10.0.0.1", "1.1.1.1, 10.0.0.2", ("10.0.0.0/8",), "1.1.1.1", id="two proxies in a row"),
        pytest.param("10.0.0.1", "", ("10.0.0.1",), "10.0.0.1", id="a proxy that says nothing"),
        pytest.param("::1", "2001:db8::7", ("::1",), "2001:db8::7", id="IPv6"),
        pytest.param("10.0.0.1", "nonsense", ("10.0.0.1",), "nonsense", id="a hop that is no address"),
        pytest.param(
            "::ffff:10.0.0.1", "1.1.1.1", ("10.0.0.0/8",), "1.1.1.1", id="a proxy at an IPv6 socket"
        ),
        pytest.param("::ffff:10.0.0.1", "1.1.1.1", ("::ffff:10.0.0.1",), "1.1.1.1", id="as it is seen there"),
        pytest.param("::ffff:9.9.9.9", "1.1.1.1", ("10.0.0.0/8",), "9.9.9.9", id="IPv4 at an IPv6 socket"),
        pytest.param("10.0.0.1", "1.1.1.1:4711", ("10.0.0.1",), "1.1.1.1", id="a hop with its port"),
        pytest.param("10.0.0.1", "[2001:DB8::7]:443", ("10.0.0.1",), "2001:db8::7", id="brackets and a port"),
        pytest.param("10.0.0.1", "2001:db8::7, ::ffff:10.0.0.2", ("10.0.0.0/8",), "2001:db8::7", id="mixed"),
        pytest.param(
            "2001:db8::1", "1.1.1.1", ("2001:db8::2",), "2001:db8::1", id="a neighbour of the proxy"
        ),
        pytest.param("", "1.1.1.1", ("10.0.0.1",), "", id="nobody knows whose connection it is"),
    ],
)
def test_the_client_is_whoever_the_last_trusted_proxy_saw(
    peer: str, forwarded: str, trusted: tuple[str, ...], address: str
) -> None:
    assert client_address(peer, forwarded, trusted) == address


@given(st.text())
def test_what_a_client_writes_is_never_believed_without_a_trusted_proxy(forwarded: str) -> None:
    assert client_address("9.9.9.9", forwarded, ("10.0.0.0/8",)) == "9.9.9.9"


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param([b"1.1.1.1, 10.0.0.2"], id="one line"),
        pytest.param([b"6.6.6.6", b"1.1.1.1, 10.0.0.2"], id="a line of the client's before"),
        pytest.param([b"1.1.1.1", b"10.0.0.2"], id="a line of each proxy"),
    ],
)
def test_the_lines_of_a_header_are_one_list(lines: list[bytes]) -> None:
    scope = {
        "headers": [(b"x-forwarded-for", line) for line in lines],
        "client": ("10.0.0.1", 1),
        "http_version": "1.1",
    }
    assert begin_exchange(scope, ("10.0.0.0/8",)).address == "1.1.1.1"


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (b"abc-1.2_3", True),
        (b"", False),
        (b"x" * 65, False),
        (b"a b", False),
        (b"a\nb", False),
        (b"\xe8", False),
    ],
)
def test_a_request_id_of_the_clients_is_kept_where_it_is_a_plain_word(sent: bytes, kept: bool) -> None:
    scope = {"headers": [(b"x-request-id", sent)], "client": ("9.9.9.9", 1), "http_version": "1.1"}
    begun = begin_exchange(scope, ())
    assert (begun.request_id == sent.decode("latin-1")) is kept
    assert kept or begun.request_id.startswith("req_")
    assert exchange_of(scope) is begun
