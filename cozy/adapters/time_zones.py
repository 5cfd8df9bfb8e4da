"""Time zones by the names that people use: IANA's, cities, countries of one zone, offsets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta, timezone, tzinfo
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from zoneinfo import ZoneInfo

from cozy.errors import ToolError

# Names that IANA's list does not have; it knows one city of each zone, and those in English
_NAMES = """
Asia/Shanghai: 中国, china, prc, 北京, beijing, peking, 上海, 广州, guangzhou, canton, 深圳, shenzhen, \
杭州, hangzhou, 南京, nanjing, 成都, chengdu, 重庆, 武汉, wuhan, 西安, xian, 天津, tianjin, 苏州, suzhou, \
长沙, changsha, 青岛, qingdao, 大连, dalian, 厦门, xiamen, 沈阳, shenyang, 哈尔滨, 郑州, zhengzhou, 济南, \
jinan, 昆明, kunming, 合肥, hefei, 福州, fuzhou, 东八区
Asia/Hong_Kong: 香港, hkt
Asia/Macau: 澳门, 澳門
Asia/Taipei: 台北, 臺北, 台湾, 臺灣, taiwan, 高雄
Asia/Tokyo: 东京, 東京, 日本, 大阪, osaka, 京都, kyoto, 横滨, yokohama, 札幌, sapporo, jst
Asia/Seoul: 首尔, 首爾, 韩国, 韓國, korea, southkorea, 釜山, busan, kst
Asia/Singapore: 新加坡, 狮城, sgt
Asia/Kuala_Lumpur: 吉隆坡, 马来西亚, malaysia
Asia/Bangkok: 曼谷, 泰国, thailand, 普吉岛, phuket
Asia/Ho_Chi_Minh: 胡志明市, 胡志明, 河内, hanoi, 越南, vietnam
Asia/Jakarta: 雅加达
Asia/Makassar: 巴厘岛, bali
Asia/Manila: 马尼拉, 菲律宾, philippines
Asia/Kolkata: 新德里, 德里, 孟买, 班加罗尔, 加尔各答, 印度, india, delhi, newdelhi, mumbai, bombay, \
bangalore, bengaluru, chennai, hyderabad
Asia/Dubai: 迪拜, 阿布扎比, abudhabi, 阿联酋, uae
Asia/Riyadh: 利雅得, 沙特, 沙特阿拉伯, saudiarabia
Asia/Tehran: 德黑兰, 伊朗
Asia/Jerusalem: 耶路撒冷, 特拉维夫, telaviv, 以色列
Europe/Istanbul: 伊斯坦布尔, 土耳其
Europe/London: 伦敦, 倫敦, 英国, 英國, uk, england, unitedkingdom, greatbritain, 爱丁堡, edinburgh, \
曼彻斯特, manchester
Europe/Dublin: 都柏林, 爱尔兰, ireland
Europe/Paris: 巴黎, 法国, 法國, france, 里昂, lyon
Europe/Berlin: 柏林, 德国, 德國, germany, 慕尼黑, munich, 法兰克福, frankfurt, 汉堡, hamburg, 科隆, \
cologne
Europe/Madrid: 马德里, 西班牙, spain, 巴塞罗那, barcelona
Europe/Rome: 罗马, 意大利, italy, 米兰, milan, 威尼斯, venice
Europe/Amsterdam: 阿姆斯特丹, 荷兰, netherlands, holland
Europe/Brussels: 布鲁塞尔, 比利时, belgium
Europe/Zurich: 苏黎世, 日内瓦, geneva, 瑞士, switzerland
Europe/Vienna: 维也纳, 奥地利, austria
Europe/Stockholm: 斯德哥尔摩, 瑞典, sweden
Europe/Oslo: 奥斯陆, 挪威, norway
Europe/Copenhagen: 哥本哈根, 丹麦, denmark
Europe/Helsinki: 赫尔辛基, 芬兰, finland
Europe/Warsaw: 华沙
Europe/Prague: 布拉格, 捷克, czechia
Europe/Budapest: 布达佩斯, 匈牙利, hungary
Europe/Athens: 雅典, 希腊, greece
Europe/Lisbon: 里斯本
Europe/Moscow: 莫斯科, 圣彼得堡, saintpetersburg
Europe/Kyiv: 基辅, 乌克兰, ukraine
Africa/Cairo: 开罗, 埃及
Africa/Johannesburg: 约翰内斯堡, 开普敦, capetown, 南非, southafrica
Africa/Nairobi: 内罗毕, 肯尼亚, kenya
Africa/Lagos: 拉各斯, 尼日利亚, nigeria
America/New_York: 纽约, 紐約, 华盛顿, washington, washingtondc, 波士顿, boston, 迈阿密, miami, 费城, \
philadelphia, 亚特兰大, atlanta, nyc, et, edt, eastern, 美东
America/Chicago: 芝加哥, 休斯顿, houston, 达拉斯, dallas, 奥斯汀, austin, cdt, 美中
America/Denver: 丹佛, mdt
America/Los_Angeles: 洛杉矶, 洛杉磯, 旧金山, 舊金山, sanfrancisco, 硅谷, siliconvalley, 西雅图, seattle, \
圣迭戈, sandiego, 拉斯维加斯, lasvegas, la, pt, pst, pdt, pacific, 美西
Pacific/Honolulu: 夏威夷, hawaii, 檀香山, 火奴鲁鲁
America/Toronto: 多伦多, 渥太华, ottawa, 蒙特利尔
America/Vancouver: 温哥华, 溫哥華
America/Mexico_City: 墨西哥城
America/Sao_Paulo: 圣保罗, 里约热内卢, 里约, riodejaneiro, rio, 巴西利亚, brasilia
America/Argentina/Buenos_Aires: 布宜诺斯艾利斯, 阿根廷, argentina
America/Santiago: 智利
Australia/Sydney: 悉尼, 雪梨, 堪培拉
Australia/Melbourne: 墨尔本
Australia/Brisbane: 布里斯班
Australia/Perth: 珀斯
Pacific/Auckland: 奥克兰, 新西兰, newzealand, 惠灵顿, wellington
UTC: 世界标准时间, 世界协调时间, 协调世界时, 格林尼治, 格林威治
"""

# Names that say less than a zone
_SEVERAL: Mapping[str, str] = {
    **dict.fromkeys(
        ("美国", "美國", "usa", "us", "america", "unitedstates"),
        "America/New_York, America/Chicago, America/Denver, America/Los_Angeles",
    ),
    **dict.fromkeys(("加拿大", "canada"), "America/Toronto, America/Winnipeg, America/Vancouver"),
    **dict.fromkeys(
        ("澳大利亚", "澳洲", "australia"), "Australia/Sydney, Australia/Adelaide, Australia/Perth"
    ),
    **dict.fromkeys(("俄罗斯", "俄國", "russia"), "Europe/Moscow, Asia/Novosibirsk, Asia/Vladivostok"),
    **dict.fromkeys(("巴西", "brazil"), "America/Sao_Paulo, America/Manaus"),
    **dict.fromkeys(("墨西哥", "mexico"), "America/Mexico_City, America/Tijuana"),
    "印尼": "Asia/Jakarta, Asia/Makassar, Asia/Jayapura",
    "indonesia": "Asia/Jakarta, Asia/Makassar, Asia/Jayapura",
    "cst": "America/Chicago, Asia/Shanghai",
    "ist": "Asia/Kolkata, Asia/Jerusalem, Europe/Dublin",
}
_OFFSET = re.compile(r"(?:utc|gmt)?([+-])([0-9]{1,2})(?::?([0-9]{2}))?", re.IGNORECASE)
_SUFFIX = re.compile(r"(?:时间|時間|市)$|[ _]time$", re.IGNORECASE)


def zone_for(name: str) -> tuple[str, tzinfo]:
    """The zone and what to call it: `("Asia/Shanghai", …)`, `("UTC+08:00", …)`. Raises ToolError."""
    text = name.strip().replace("−", "-")
    if offset := _OFFSET.fullmatch(text.replace(" ", "")):
        return _fixed(offset, name)
    place = re.split(r"[,，]", text)[0].strip()  # `Tokyo, Japan`
    for form in (_key(text), _key(place), _key(_SUFFIX.sub("", place))):
        if found := _zones().get(form):
            return found, ZoneInfo(found)
        if form in _SEVERAL:
            raise ToolError(f"`{name[:40]}` has several time zones", hint=f"say which one: {_SEVERAL[form]}")
    near = get_close_matches(_key(text[:40]), _zones(), n=1, cutoff=0.7)
    hint = f"did you mean `{_zones()[near[0]]}`?" if near else "use a name of IANA's such as `Asia/Shanghai`"
    raise ToolError(f"there is no time zone `{name[:40]}`", hint=hint)


def _fixed(offset: re.Match[str], name: str) -> tuple[str, tzinfo]:
    hours, minutes = int(offset[2]), int(offset[3] or 0)
    if hours > 14 or minutes > 59:
        raise ToolError(f"there is no time zone `{name[:40]}`", hint="offsets go from UTC-12:00 to UTC+14:00")
    span = timedelta(hours=hours, minutes=minutes)
    label = f"UTC{offset[1]}{hours:02d}:{minutes:02d}"
    return label, timezone(-span if offset[1] == "-" else span)


def _key(name: str) -> str:
    return re.sub(r"[ _\-.']", "", name).casefold()


@cache
def _zones() -> Mapping[str, str]:
    """Keys of zone names, of their cities and of our own names → IANA's name.

    The list is that of the package tzdata, whose data `zoneinfo` falls back to on every platform.
    """
    known = files("tzdata").joinpath("zones").read_text(encoding="ascii").split()
    zones: dict[str, str] = {}
    for zone in known:
        if zone.partition("/")[0] not in ("Etc", "US", "Canada", "Brazil", "Chile", "Mexico"):
            zones.setdefault(_key(zone.rpartition("/")[2]), zone)
    for line in _NAMES.strip().splitlines():
        zone, _, names = line.partition(": ")
        zones |= dict.fromkeys((_key(name) for name in names.split(",")), zone)
    return zones | {_key(zone): zone for zone in known}
