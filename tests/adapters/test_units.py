from __future__ import annotations

from collections import Counter
from contextlib import suppress
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cozy.adapters.unit_table import Unit, units_with_names
from cozy.adapters.units import convert
from cozy.errors import ToolError

UNITS = [unit for unit, _ in units_with_names()]


@pytest.mark.parametrize(
    ("value", "source", "target", "result"),
    [
        ("3", "斤", "公斤", "1.5"),
        ("1", "两", "克", "50"),
        ("5", "里", "公里", "2.5"),
        ("3", "尺", "米", "1"),
        ("3", "亩", "平方米", "2000"),
        ("36.6", "℃", "°F", "97.88"),
        ("98.6", "华氏度", "摄氏度", "37"),
        ("0", "摄氏度", "K", "273.15"),
        ("-40", "F", "C", "-40"),
        ("1", "mile", "km", "1.609344"),
        ("5", "feet", "inches", "60"),
        ("6", "英尺", "厘米", "182.88"),
        ("1", "lb", "g", "453.59237"),
        ("1", "gallon", "L", "3.785411784"),
        ("100", "Km/H", "m/s", "250/9"),
        ("1", "千米每小时", "公里/小时", "1"),
        ("90", "分钟", "小时", "1.5"),
        ("1", "GiB", "MB", "1073.741824"),
        ("8", "Mb", "MB", "1"),
        ("1", "标准大气压", "kPa", "101.325"),
        ("1", "大卡", "焦耳", "4184"),
        ("2", "度电", "MJ", "7.2"),
        ("2", "sq. ft", "㎡", "0.18580608"),
        ("1", "m^3", "升", "1000"),
        ("1", "KGS", "kg", "1"),
        ("1", "公 斤", " KG ", "1"),
        ("1", "year", "days", "365.2425"),
    ],
)
def test_a_value_is_converted_exactly(value: str, source: str, target: str, result: str) -> None:
    assert convert(Fraction(value), source, target).result == Fraction(result)


@pytest.mark.parametrize(
    ("source", "target", "meant"),
    [
        ("oz", "g", "oz"),
        ("oz", "mL", "fl oz"),
        ("度", "F", "°C"),
        ("度", "kJ", "kWh"),
        ("分", "秒", "min"),
        ("分", "亩", "分"),
        ("c", "km/s", "c"),
        ("c", "f", "°C"),
    ],
)
def test_a_name_of_several_meanings_takes_the_one_that_fits(source: str, target: str, meant: str) -> None:
    assert convert(Fraction(1), source, target).source.symbol == meant


@pytest.mark.parametrize(
    ("source", "target", "message", "hint"),
    [
        ("ton", "kg", "`ton` has several meanings", "`t` (吨)"),
        ("kg", "ton", "`ton` has several meanings", "`short ton` (短吨)"),
        ("mb", "GB", "`mb` has several meanings", "`MB` (兆字节), `Mbit` (兆比特)"),
        ("杯", "毫升", "`杯` has several meanings", "`metric cup` (公制杯)"),
        ("kilogrm", "lb", "there is no unit `kilogrm`", "did you mean `kg` (公斤)?"),
        ("blorp", "kg", "there is no unit `blorp`", "units of mass: µg, mg, g, kg"),
        ("blorp", "wibble", "there is no unit `blorp`", "`斤`"),
        ("kg", "", "there is no unit ``", "units of mass"),
        ("kg", "米", "`kg` is a unit of mass, `米` of length: no conversion", ""),
    ],
)
def test_what_cannot_be_converted_is_explained(source: str, target: str, message: str, hint: str) -> None:
    with pytest.raises(ToolError) as caught:
        convert(Fraction(1), source, target)
    assert caught.value.message == message
    assert hint in (caught.value.hint or "")


def test_nothing_is_colder_than_absolute_zero() -> None:
    assert convert(Fraction("-273.15"), "C", "K").result == 0
    with pytest.raises(ToolError, match="below absolute zero"):
        convert(Fraction("-459.68"), "°F", "°C")


def test_a_long_name_is_cut_in_the_message() -> None:
    with pytest.raises(ToolError) as caught:
        convert(Fraction(1), "x" * 5000, "kg")
    assert len(str(caught.value)) < 300


@given(st.fractions(), st.sampled_from(UNITS), st.data())
def test_there_and_back_is_the_same_value(value: Fraction, unit: Unit, data: st.DataObject) -> None:
    # into itself is left out: `oz` into `oz` may be mass or volume
    other = data.draw(st.sampled_from([u for u in UNITS if u.quantity == unit.quantity and u != unit]))
    assume(unit.quantity != "temperature" or value >= 0)
    there = convert(value, unit.symbol, other.symbol)
    assert (there.source, there.target) == (unit, other)
    assert convert(there.result, other.symbol, unit.symbol).result == value


@given(st.text(max_size=20), st.text(max_size=20))
def test_any_names_give_a_conversion_or_a_tool_error(source: str, target: str) -> None:
    with suppress(ToolError):
        assert convert(Fraction(1), source, target).source.quantity


def test_each_name_of_a_unit_finds_it_or_asks_which_one_is_meant() -> None:
    base = {unit.quantity: unit.symbol for unit in reversed(UNITS)}
    several = Counter(name for _, names in units_with_names() for name in set(names))
    for unit, names in units_with_names():
        for name in names:
            if several[name] == 1:
                assert convert(Fraction(1000), name, base[unit.quantity]).source == unit, name
    shared = sorted(name for name, count in several.items() if count > 1)
    assert shared == ["kb", "ounce", "oz", "ton", "分", "度", "杯"]
