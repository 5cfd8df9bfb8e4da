"""What people say of themselves in Chinese; the patterns are of simplified characters (`traditional.py`)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from cozy.adapters.statements import Rule, age

_JOBS = (
    "工程师|医生|大夫|老师|教师|护士|律师|程序员|架构师|学生|大学生|研究生|博士生|中学生|高中生|博士后|设计师|厨师|司机|会计|出纳"
    "|经理|主管|总监|店长|老板|创业者|自由职业者|记者|作家|编剧|诗人|画家|演员|歌手|导演|模特|音乐人|音乐家|科学家|研究员|教授|讲师"
    "|农民|工人|电工|木工|焊工|警察|军人|士兵|消防员|公务员|销售|销售员|营业员|售货员|服务员|收银员|快递员|外卖员|保安|保洁员|翻译"
    "|编辑|建筑师|药师|药剂师|营养师|咨询师|分析师|会计师|精算师|摄影师|理发师|美容师|化妆师|按摩师|教练|运动员|裁判|飞行员|船员"
    "|导游|图书管理员|管理员|操作员|技术员|实验员|检验员|文员|秘书|助理|客服|运营|测试|顾问|中介|法官|检察官|兽医|牙医|中医|护工"
    "|保姆|月嫂|社工|志愿者|主播|博主|全职妈妈|全职太太|家庭主妇|家庭医生|退休教师|退休工人|公司职员|职员|白领"
)
_NO_NAME = re.compile(
    r"[你您他她它我谁人了不得做去来过着一这那是在有没]|外卖|出?租?车|救护车|快递|服务员|警察|医生|客服|大家|什么|名字|停|起床"
)
_NO_THING = re.compile(r"[你您他她它这那谁哪什怎的上过不]|人(?!文|工|物|体|像|生)|自己|吗|呢")
_SURNAMES = (
    "赵钱孙李周吴郑王冯陈褚卫蒋沈韩杨朱秦尤许何吕施张孔曹严华金魏陶姜谢邹喻苏潘葛范彭鲁韦马苗方俞任袁柳史唐费薛雷贺倪汤"
    "罗毕郝安常傅康伍余顾孟黄萧尹姚邵汪毛戴宋庞熊纪舒项祝董梁杜阮蓝季贾江童郭林钟徐邱高夏蔡田胡霍万柯卢莫丁邓石崔龚程"
    "陆翁叶黎白蒲温刘曾关肖涂曲侯"
)
_PROVINCES = (
    "北京|上海|天津|重庆|河北|山西|辽宁|吉林|黑龙江|江苏|浙江|安徽|福建|江西|山东|河南|湖北|湖南|广东|海南|四川|贵州|云南|陕西|甘肃"
    "|青海|台湾|内蒙古|广西|西藏|宁夏|新疆|香港|澳门|东北"
    "|广州|深圳|杭州|南京|苏州|成都|武汉|西安|长沙|青岛|大连|厦门|沈阳|哈尔滨|郑州|济南|昆明|合肥|福州|台北|温州|宁波"
)
_NO_PLACE = re.compile(r"[你您他她它这那谁哪什怎不]|院|校|得|进|下|一起|家里?$|学校$|宿舍$|公司$")
_LIST = re.compile(r"[、,]|以及|还有|(?<![暖柔温共饱缓])和(?![平服牛谐气面尚睦])")
_SINCE = re.compile(
    r"(?:已经|快|都|有|了)*[一二两三四五六七八九十几多半\d]+(?:年|天|个?月|个?星期|周|个?礼拜)(?:多|半)?$"
)
_END = re.compile(r"(?:了|啊|哦|呀|吧|啦|哈|哟|喔|呢)+$")


def _name(text: str) -> Sequence[str]:
    name = _END.sub("", text.strip())
    looks = re.fullmatch(
        r"[\u3400-\u9fff\U00020000-\U000323af·]{1,8}|[A-Za-z][\w.'-]*(?: [A-Za-z][\w.'-]*){0,3}|[\w·]{2,8}",
        name,
    )
    long = re.fullmatch(r"[\u3400-\u9fff]{5,}", name)  # a Chinese name is short, a foreign one has its dot
    return () if not looks or long or _NO_NAME.match(name) or name.isdecimal() else (name,)


def _place(text: str) -> Sequence[str]:
    place = _SINCE.sub("", _END.sub("", text.strip()))
    return () if _NO_PLACE.match(place) else (place,)


def _things(text: str) -> Sequence[str]:
    things = [_END.sub("", thing.strip()).replace("我的", "自己的") for thing in _LIST.split(text)]
    return () if _NO_THING.match(things[0]) else [t for t in things if t and not _NO_THING.match(t)]


def _verb_and_thing(text: str) -> tuple[str, str]:
    """`喝茶` as 喝 and 茶: whoever no longer likes 茶 no longer likes 喝茶."""
    apart = re.fullmatch(r"([喝吃])(.+)|([看听聽玩])(..+|[书書歌])", text)
    return (apart[1] or apart[3], apart[2] or apart[4]) if apart else ("", text)


def _allergens(text: str) -> Sequence[str]:
    return () if re.search(r"(?:不|没有?|不会)$", text) else _things(text)


def _whole(text: str) -> Sequence[str]:
    return (_END.sub("", text.strip()),)


def _date(text: str) -> Sequence[str]:
    return _whole(text) if re.search(r"[\d月日号初]", text) else ()


_VERY = r"(?:还|也|都|就|很|最|非常|特别|真的?|比较|超级?|一直|挺|其实|更|尤其|十分|蛮|好)*"
_NOW = r"(?:现在|目前|如今|一直|就|也|还|家|刚刚?|最近|已经|[去今前]年|上个?[月周])*"
KIN = (
    "狗狗?|猫咪?|兔子|仓鼠|鹦鹉|乌龟|儿子|女儿|孩子|宝宝|妹妹|弟弟|哥哥|姐姐|老婆|妻子|太太|丈夫|老公|妈妈|爸爸|母亲|父亲"
    "|女朋友|男朋友|朋友|同桌"
)

CHINESE = (
    Rule(
        (
            rf"我{_NOW}的?(?:名字|姓名)(?:叫做?|是|为|改成|改为)(?P<x>.+)",
            rf"我(?:的?全名)?{_NOW}(?:改名字?|更名|换名字?)?(?:叫做?|为|成)(?P<x>.+)",
            r"(?:以后|今后|从今以后)?(?:你|您|大家|朋友们?)?(?:们?都|可以|就|请)*(?:叫|称呼)我(?:做|为)?(?P<x>.+)",
            rf"我是(?P<x>[小老阿][{_SURNAMES}])",
        ),
        _name,
        *("basic_info", "name", "{x}", "用户的名字是{x}"),
    ),
    Rule(
        (
            rf"我{_NOW}(?:从.{{1,12}})?(?:住在|住喺|住|居住在|定居在?|搬家?[到去来]了?)(?P<x>.+)",
            rf"我{_NOW}在(?P<x>.+?)(?:居住|生活|定居|住)(?:着|了.*)?",
            r"我(?:的)?家(?:就)?在(?P<x>.+)",
        ),
        _place,
        *("basic_info", "city", "{x}", "用户住在{x}"),
    ),
    Rule(
        (
            r"我(?:是)?来自(?:于)?(?P<x>.+?)(?:的)?",
            r"我(?:的)?老家(?:就)?[在是](?P<x>.+)",
            r"我是从(?P<x>.+?)来的",
            rf"我是(?:一?[个名位]|土生土长的|地道的)?(?P<x>{_PROVINCES}|(?!外国|中外).{{1,3}}[国省市县州镇村])人",
        ),
        _place,
        *("basic_info", "hometown", "{x}", "用户来自{x}"),
    ),
    Rule(
        (
            r"我(?:今年|现在|已经|刚满?|都|是)*(?P<x>\d{1,3}|[一二三四五六七八九十百零两]{1,5})周?岁(?:了|半)?",
            r"我?的?年龄是(?P<x>\d{1,3})周?岁?",
        ),
        age,
        *("basic_info", "age", "{x}", "用户{x}岁"),
    ),
    Rule(
        (
            r"我的?生日(?:是|在)(?P<x>.+)",
            r"我(?:出生|生)于(?P<x>.+)",
            r"我是?(?P<x>[\d一二三四五六七八九十〇零年月日号农历初]+)(?:出生|生)的?",
        ),
        _date,
        *("basic_info", "birthday", "{x}", "用户的生日是{x}"),
    ),
    Rule(
        (r"我最(?:喜欢|爱)(?P<does>[\u4e00-\u9fff]?)的(?P<kind>.{1,8}?)(?:是|叫)(?P<x>.+)",),
        _whole,
        *("interest", "最喜欢{does}的{kind}", "{x}", "用户最喜欢{does}的{kind}是{x}"),
    ),
    Rule(
        (rf"我{_VERY}(?:不(?:太|怎么|是很|大|再)?(?:喜欢|爱)|讨厌|厌恶|恨|受不了)(?P<x>.+)",),
        _things,
        *("interest", "{thing}", "不喜欢{verb}", "用户不喜欢{x}"),
        _verb_and_thing,
    ),
    Rule(
        (rf"我{_VERY}(?:喜欢|喜爱|热爱|偏爱|爱)(?P<x>.+)", r"我的?(?:爱好|兴趣)(?:是|有|包括)(?P<x>.+)"),
        _things,
        *("interest", "{thing}", "喜欢{verb}", "用户喜欢{x}"),
        _verb_and_thing,
    ),
    Rule(
        (rf"我{_VERY}(?:从来?|一般|基本)?(?:不|不能|不可以|不会)(?:太|怎么|再)?(?P<does>[吃喝])(?P<x>.+)",),
        _things,
        *("interest", "{x}", "不{does}", "用户不{does}{x}"),
    ),
    Rule(
        (rf"我{_VERY}(?:容易|会)?对(?P<x>.+?)(?:严重|有点|会)*过敏.?", rf"我{_VERY}有(?P<x>.+?)过敏[症史]?"),
        _allergens,
        *("health", "{x}", "过敏", "用户对{x}过敏"),
    ),
    Rule(
        (
            rf"我{_NOW}(?:是|当|做|担任)(?:了)?(?:一?[名个位])?(?P<x>[^是]{{0,10}}?(?:{_JOBS}))",
            rf"我{_NOW}在.{{1,20}}?(?:当|做|担任)(?:一?[名个位])?(?P<x>[^是]{{0,10}}?(?:{_JOBS}))",
            r"我的?(?:职业|工作)是(?:一?[名个位])?(?P<x>.+)",
        ),
        _whole,
        *("work", "job", "{x}", "用户的职业是{x}"),
    ),
    Rule(
        (rf"我{_NOW}在(?P<x>.+?)(?:工作|上班|任职|就职)(?:了.*)?",),
        _place,
        *("work", "workplace", "{x}", "用户在{x}工作"),
    ),
    Rule(
        (
            rf"我(?:的|家)?(?:的)?(?P<who>{KIN})(?:的名字)?(?:叫做?|名叫)(?P<x>.+)",
            rf"我(?:家|还)?(?:里)?(?:有|养了?)[一1]?[只条个匹](?P<who>{KIN})(?:名字)?(?:叫做?|名叫)(?P<x>.+)",
        ),
        _name,
        *("family", "{who}", "{x}", "用户的{who}叫{x}"),
    ),
    Rule(
        (rf"我(?:家|还)?(?:里)?(?:有|养了?)(?P<many>[一二两三四五\d][只条个匹])(?P<x>{KIN})",),
        _whole,
        *("family", "{x}", "{many}{x}", "用户有{many}{x}"),
    ),
)
