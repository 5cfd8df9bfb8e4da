from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyotp import TOTP

from cozy.adapters.pyotp_second_factor import STEP_S, new_second_factor, step_of

NOW = datetime(2030, 1, 1, 12, 0, 10, tzinfo=UTC)
STEP = int(NOW.timestamp()) // STEP_S
SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"


def code(step: int) -> str:
    return TOTP(SECRET).at(step * STEP_S)


def test_a_secret_is_new_each_time_and_its_address_says_whose_it_is() -> None:
    first, second = new_second_factor("小明"), new_second_factor("小明")
    assert first.secret != second.secret
    address = urlsplit(first.uri)
    assert (address.scheme, address.netloc, unquote(address.path)) == ("otpauth", "totp", "/Cozy:小明")
    assert parse_qs(address.query) == {"secret": [first.secret], "issuer": ["Cozy"]}
    assert first.secret not in repr(first)


@pytest.mark.parametrize("off", [-1, 0, 1])
def test_a_code_of_about_now_is_taken(off: int) -> None:
    assert step_of(SECRET, code(STEP + off), NOW, after=None) == STEP + off
    spaced = f" {code(STEP + off)[:3]} {code(STEP + off)[3:]}"
    assert step_of(SECRET, spaced, NOW, after=STEP - 2) == STEP + off


@pytest.mark.parametrize("off", [-3, -2, 2, 3])
def test_a_code_of_another_time_is_not(off: int) -> None:
    assert step_of(SECRET, code(STEP + off), NOW, after=None) is None


def test_a_code_is_taken_once_and_none_before_it() -> None:
    assert step_of(SECRET, code(STEP), NOW, after=STEP) is None
    assert step_of(SECRET, code(STEP - 1), NOW, after=STEP) is None
    assert step_of(SECRET, code(STEP + 1), NOW, after=STEP) == STEP + 1


@given(st.one_of(st.none(), st.integers(), st.binary(), st.text(max_size=20)))
def test_what_is_no_code_is_no_code(given: object) -> None:
    assert step_of(SECRET, given, NOW, after=None) in (None, STEP - 1, STEP, STEP + 1)


@pytest.mark.parametrize(
    "given", ["１２３４５６", "²³⁴⁵⁶⁷", "٠٠٠٠٠٠", "", "12345", "1234567", "9" * 10_000_000, 123456, None]
)
def test_digits_are_six_plain_ones(given: object) -> None:
    assert step_of(SECRET, given, NOW, after=None) is None
