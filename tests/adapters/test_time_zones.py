from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cozy.adapters.time_zones import zone_for
from cozy.errors import ToolError

MOMENT = datetime(2026, 1, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("Asia/Shanghai", "Asia/Shanghai"),
        ("asia/shanghai", "Asia/Shanghai"),
        ("America/Argentina/Buenos_Aires", "America/Argentina/Buenos_Aires"),
        ("北京", "Asia/Shanghai"),
        ("北京时间", "Asia/Shanghai"),
        ("上海市", "Asia/Shanghai"),
        ("胡志明市", "Asia/Ho_Chi_Minh"),
        ("東京", "Asia/Tokyo"),
        ("纽约", "America/New_York"),
        ("Tokyo", "Asia/Tokyo"),
        ("Tokyo, Japan", "Asia/Tokyo"),
        ("new york", "America/New_York"),
        ("San Francisco", "America/Los_Angeles"),
        ("Pacific Time", "America/Los_Angeles"),
        ("UTC", "UTC"),
        ("GMT", "GMT"),
        ("UTC+8", "UTC+08:00"),
        ("gmt-03:30", "UTC-03:30"),
        ("+0530", "UTC+05:30"),
        ("UTC−5", "UTC-05:00"),
    ],
)
def test_a_zone_is_found_by_what_people_call_it(name: str, label: str) -> None:
    found, zone = zone_for(name)
    assert found == label
    if not label.startswith("UTC"):
        assert zone == ZoneInfo(label)


def test_an_offset_is_what_it_says() -> None:
    assert MOMENT.astimezone(zone_for("UTC-3:30")[1]).utcoffset() == -timedelta(hours=3, minutes=30)
    assert MOMENT.astimezone(zone_for("UTC+14")[1]).utcoffset() == timedelta(hours=14)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("美国", "America/New_York"),
        ("USA", "America/Los_Angeles"),
        ("CST", "Asia/Shanghai"),
        ("shanghi", "did you mean `Asia/Shanghai`?"),
        ("UTC+15", "offsets go from"),
        ("亚特兰蒂斯", "IANA"),
        ("../../etc/passwd", "IANA"),
        ("", "IANA"),
    ],
)
def test_a_name_that_is_no_zone_is_answered_with_what_would_be(name: str, hint: str) -> None:
    with pytest.raises(ToolError) as caught:
        zone_for(name)
    assert hint in (caught.value.hint or "")


@given(st.text(max_size=100))
def test_any_name_gives_a_zone_or_a_tool_error(name: str) -> None:
    try:
        label, zone = zone_for(name)
    except ToolError:
        return
    assert label
    assert MOMENT.astimezone(zone).utcoffset() is not None
