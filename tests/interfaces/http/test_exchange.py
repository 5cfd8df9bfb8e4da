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
