"""Units and what they are worth.

Factors are exact where the unit is defined by one. Sources: the SI brochure (9th edition) with the units it
lists beside the SI; NIST SP 811 for the international foot and pound, the US gallon and their kin, the
thermochemical calorie and the BTU (International Table); the UK's Weights and Measures Act 1985 for the
imperial gallon; IAU 2012 for the astronomical unit; IEC 80000-13 for KiB and its kin; China's market units
(市制) as they stand since 1959: 1 斤 = 500 g, 1 尺 = 1/3 m, 1 亩 = 2000/3 m²; Taiwan's 台斤 = 600 g and
坪 = 400/121 m². A year is the mean Gregorian one, a month its twelfth.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit of one quantity; `value × factor + offset` is the same in the quantity's base unit."""

    quantity: str
    symbol: str
    chinese: str
    factor: Fraction
    offset: Fraction = Fraction(0)


# Each line: symbol | Chinese name | factor to the quantity's base unit | other names, separated by commas
_LENGTH = """
nm | 纳米 | 1e-9 | nanometer, nanometre
µm | 微米 | 1e-6 | um, micron, micrometer, micrometre
mm | 毫米 | 0.001 | millimeter, millimetre, 公厘
cm | 厘米 | 0.01 | centimeter, centimetre, 公分, 釐米
dm | 分米 | 0.1 | decimeter, decimetre
m | 米 | 1 | meter, metre, 公尺
km | 公里 | 1000 | kilometer, kilometre, klick, 千米
in | 英寸 | 0.0254 | inch, inches, ", ″, 吋, 英吋
ft | 英尺 | 0.3048 | foot, feet, ', ′, 呎, 英呎
yd | 码 | 0.9144 | yard, 碼
mi | 英里 | 1609.344 | mile, 英哩, 哩
nmi | 海里 | 1852 | nauticalmile, 浬
au | 天文单位 | 149597870700 | astronomicalunit
ly | 光年 | 9460730472580800 | lightyear
寸 | 寸 | 1/30 | 市寸
尺 | 尺 | 1/3 | 市尺
丈 | 丈 | 10/3 | 市丈
里 | 里 | 500 | 华里, 市里, li, 華里
"""
_MASS = """
µg | 微克 | 1e-9 | ug, mcg, microgram
mg | 毫克 | 1e-6 | milligram
g | 克 | 0.001 | gram, gramme, 公克
kg | 公斤 | 1 | kilogram, kilo, 千克
t | 吨 | 1000 | tonne, metricton, ton, 公吨, 噸
ct | 克拉 | 0.0002 | carat
gr | 格令 | 0.00006479891 | grain
oz | 盎司 | 0.028349523125 | ounce, 盎斯
lb | 磅 | 0.45359237 | lbs, pound
st | 英石 | 6.35029318 | stone
short ton | 短吨 | 907.18474 | uston, ton, 美吨
long ton | 长吨 | 1016.0469088 | imperialton, ukton, ton, 英吨
钱 | 钱 | 0.005 | 市钱, 錢
两 | 两 | 0.05 | 市两, 兩, liang
斤 | 斤 | 0.5 | 市斤, jin, catty
担 | 担 | 50 | 市担, 擔, dan
台斤 | 台斤 | 0.6 | 臺斤, taiwancatty
"""
_TEMPERATURE = """
K | 开尔文 | 1 | kelvin, 开, 絕對溫度
°C | 摄氏度 | 1 | C, celsius, centigrade, degC, degreesC, degreeCelsius, degreesCelsius, \
摄氏, 攝氏度, 攝氏, 度
°F | 华氏度 | 5/9 | F, fahrenheit, degF, degreesF, degreeFahrenheit, degreesFahrenheit, 华氏, 華氏度, 華氏
"""
_AREA = """
mm² | 平方毫米 | 1e-6 | sqmm, squaremillimeter, squaremillimetre
cm² | 平方厘米 | 0.0001 | sqcm, squarecentimeter, squarecentimetre, 平方公分
m² | 平方米 | 1 | sqm, squaremeter, squaremetre, 平米, 平方公尺, 平方
ha | 公顷 | 10000 | hectare, 公頃
km² | 平方公里 | 1000000 | sqkm, squarekilometer, squarekilometre, 平方千米
in² | 平方英寸 | 0.00064516 | sqin, squareinch, squareinches
ft² | 平方英尺 | 0.09290304 | sqft, squarefoot, squarefeet
yd² | 平方码 | 0.83612736 | sqyd, squareyard
mi² | 平方英里 | 2589988.110336 | sqmi, squaremile
acre | 英亩 | 4046.8564224 | ac, 英畝
坪 | 坪 | 400/121 | ping, tsubo
分 | 分 | 200/3 | 市分
亩 | 亩 | 2000/3 | 市亩, 畝, mu
顷 | 顷 | 200000/3 | 市顷, 頃
"""
_VOLUME = """
mL | 毫升 | 1e-6 | milliliter, millilitre, cc, cm3, cubiccentimeter, cubiccentimetre, 立方厘米
cL | 厘升 | 1e-5 | centiliter, centilitre
dL | 分升 | 0.0001 | deciliter, decilitre
L | 升 | 0.001 | liter, litre, dm3, 公升, 立方分米
m³ | 立方米 | 1 | cubicmeter, cubicmetre, cbm, 方
in³ | 立方英寸 | 0.000016387064 | cuin, cubicinch, cubicinches
ft³ | 立方英尺 | 0.028316846592 | cuft, cubicfoot, cubicfeet
tsp | 美制茶匙 | 0.00000492892159375 | teaspoon
tbsp | 美制汤匙 | 0.00001478676478125 | tablespoon
fl oz | 液量盎司 | 0.0000295735295625 | fluidounce, floz, oz, ounce, 美制液量盎司
cup | 美制杯 | 0.0002365882365 | uscup, 杯
pt | 品脱 | 0.000473176473 | pint, uspint
qt | 夸脱 | 0.000946352946 | quart, usquart
gal | 加仑 | 0.003785411784 | gallon, usgallon, 美制加仑, 美加仑, 加侖
bbl | 桶 | 0.158987294928 | barrel, oilbarrel
metric teaspoon | 茶匙 | 0.000005 | 小匙
metric tablespoon | 汤匙 | 0.000015 | 大匙, 湯匙
metric cup | 公制杯 | 0.00025 | 杯
imperial fl oz | 英制液量盎司 | 0.0000284130625 | imperialfluidounce, ukfloz
imperial pint | 英制品脱 | 0.00056826125 | ukpint
imperial gallon | 英制加仑 | 0.00454609 | ukgallon, 英加仑
"""
_SPEED = """
m/s | 米每秒 | 1 | mps, meterpersecond, meterspersecond, metrespersecond, 米/秒
km/s | 公里每秒 | 1000 | kps, kilometerspersecond, kilometrespersecond, 公里/秒, 千米每秒
km/h | 公里每小时 | 5/18 | kmh, kmph, kph, kmperhour, kilometerperhour, kilometersperhour, \
kilometresperhour, 公里/小时, 公里/时, 千米每小时, 千米/小时, 千米/时, 时速公里
mph | 英里每小时 | 0.44704 | mi/h, mileperhour, milesperhour, 英里/小时
kn | 节 | 463/900 | knot, kt, 節
ft/s | 英尺每秒 | 0.3048 | fps, footpersecond, feetpersecond
c | 光速 | 299792458 | speedoflight
"""
_TIME = """
ns | 纳秒 | 1e-9 | nanosecond
µs | 微秒 | 1e-6 | us, microsecond
ms | 毫秒 | 0.001 | millisecond
s | 秒 | 1 | sec, second, 秒钟
min | 分钟 | 60 | minute, 分, 分鐘
刻 | 刻钟 | 900 | 刻鐘
h | 小时 | 3600 | hr, hour, 小時, 钟头, 时
时辰 | 时辰 | 7200 | 時辰
d | 天 | 86400 | day, 日
wk | 周 | 604800 | week, 星期, 礼拜, 週
month | 个月 | 2629746 | mo, 月
yr | 年 | 31556952 | year
"""
_DATA = """
bit | 比特 | 1/8 | b, 位
kbit | 千比特 | 125 | kb, kilobit
Mbit | 兆比特 | 125e3 | Mb, megabit
Gbit | 吉比特 | 125e6 | Gb, gigabit
Tbit | 太比特 | 125e9 | Tb, terabit
B | 字节 | 1 | byte, 字節
kB | 千字节 | 1e3 | KB, kb, kilobyte
MB | 兆字节 | 1e6 | megabyte
GB | 吉字节 | 1e9 | gigabyte, gig
TB | 太字节 | 1e12 | terabyte
PB | 拍字节 | 1e15 | petabyte
KiB | 二进制千字节 | 1024 | kibibyte
MiB | 二进制兆字节 | 1048576 | mebibyte
GiB | 二进制吉字节 | 1073741824 | gibibyte
TiB | 二进制太字节 | 1099511627776 | tebibyte
PiB | 二进制拍字节 | 1125899906842624 | pebibyte
"""
_PRESSURE = """
Pa | 帕 | 1 | pascal, 帕斯卡
hPa | 百帕 | 100 | hectopascal
kPa | 千帕 | 1000 | kilopascal
MPa | 兆帕 | 1000000 | megapascal
mbar | 毫巴 | 100 | millibar
bar | 巴 | 100000 |
atm | 标准大气压 | 101325 | atmosphere, 大气压
mmHg | 毫米汞柱 | 133.322387415 | 毫米水银柱
inHg | 英寸汞柱 | 3386.388640341 | inchesofmercury
torr | 托 | 20265/152 |
psi | 磅力每平方英寸 | 8896443230521/1290320000 | lbf/in2, poundspersquareinch, 磅每平方英寸
kgf/cm² | 公斤力每平方厘米 | 98066.5 | 公斤力, 公斤每平方厘米
"""
_ENERGY = """
J | 焦耳 | 1 | joule, 焦
kJ | 千焦 | 1000 | kilojoule, 千焦耳
MJ | 兆焦 | 1000000 | megajoule, 兆焦耳
cal | 卡 | 4.184 | calorie, 卡路里
kcal | 千卡 | 4184 | Cal, kilocalorie, foodcalorie, 大卡, 千卡路里
Wh | 瓦时 | 3600 | watthour
kWh | 千瓦时 | 3600000 | kilowatthour, 度, 度电, 千瓦小时
BTU | 英热单位 | 1055.05585262 | britishthermalunit
eV | 电子伏 | 1.602176634e-19 | electronvolt, 电子伏特
erg | 尔格 | 1e-7 |
ft lb | 英尺磅 | 1.3558179483314004 | footpound, ftlbf
"""
_OFFSETS = {"°C": Fraction("273.15"), "°F": Fraction("459.67") * Fraction(5, 9)}
"""In kelvin: what the scale's zero is above the absolute one."""


def units_with_names() -> list[tuple[Unit, tuple[str, ...]]]:
    """Every unit with all the names it goes by, symbol and Chinese name first."""
    tables = {
        "length": _LENGTH,
        "mass": _MASS,
        "temperature": _TEMPERATURE,
        "area": _AREA,
        "volume": _VOLUME,
        "speed": _SPEED,
        "time": _TIME,
        "data": _DATA,
        "pressure": _PRESSURE,
        "energy": _ENERGY,
    }
    units: list[tuple[Unit, tuple[str, ...]]] = []
    for quantity, table in tables.items():
        for line in table.strip().splitlines():
            symbol, chinese, factor, others = (cell.strip() for cell in line.split("|"))
            unit = Unit(quantity, symbol, chinese, Fraction(factor), _OFFSETS.get(symbol, Fraction(0)))
            names = [name.strip() for name in others.split(",")] if others else []
            units.append((unit, (symbol, chinese, *names)))
    return units
