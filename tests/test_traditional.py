from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cozy.traditional import simplified


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("我對花生過敏，請記住", "我对花生过敏，请记住"),
        ("現在幾點？台北和東京呢？", "现在几点？台北和东京呢？"),
        ("我的貓叫咪咪，牠今年兩歲", "我的猫叫咪咪，它今年两岁"),
        ("𠮷野家 Ｔｅａ 🍵 茶", "𠮷野家 Ｔｅａ 🍵 茶"),
    ],
)
def test_traditional_characters_are_read_as_simplified_ones(written: str, read: str) -> None:
    assert simplified(written) == read


@given(st.text(st.sampled_from("對点點AｂＣ😀𠮷\ud800 個")))
def test_each_character_keeps_its_place(text: str) -> None:
    assert len(simplified(text)) == len(text)
    assert simplified(simplified(text)) == simplified(text)
