"""The socket that a server answers at."""

from __future__ import annotations

import pytest

from cozy.cli.listener import bound
from cozy.errors import ConfigError
from cozy.settings import ServerSettings


def test_a_port_that_is_taken_is_an_error_with_a_hint() -> None:
    with bound(ServerSettings(port=0)) as first, pytest.raises(ConfigError) as caught:
        bound(ServerSettings(port=first.getsockname()[1]))
    assert "already in use" in caught.value.message
    assert "--port" in str(caught.value.hint)


@pytest.mark.parametrize("host", ["no.such.host.invalid", "203.0.113.1"])
def test_an_address_that_is_not_of_this_machine_is_an_error(host: str) -> None:
    with pytest.raises(ConfigError, match=r"server\.host|cannot listen"):
        bound(ServerSettings(host=host, port=0))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0"])
def test_a_port_that_the_system_picks_is_free(host: str) -> None:
    with bound(ServerSettings(host=host, port=0)) as listener:
        assert listener.getsockname()[1] > 0
