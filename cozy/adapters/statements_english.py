"""What people say of themselves in English."""

from __future__ import annotations

import re
from collections.abc import Sequence

from cozy.adapters.statements import Rule, age

# what may follow `I'm` and `call me` with the look of a name, and is none
_NO_NAMES = """
a about above afraid again alone also american an and any asian asleep at australian available awake away
back bad behind better black blind bored brazilian british broke busy but by canadian catholic chinese
christian cold coming confused crazy curious deaf depressed different divorced done down drunk dutch dying
early egyptian english european even ever exhausted fat feeling female fine for free french from full fun
german getting glad going good great greek guessing happy hard healthy here home hoping hot hungry if ill
important in indian injured interested into irish italian japanese jewish just korean late later learning
leaving like living lonely looking lost loving making male married maybe mexican muslim new no nobody none
not now of off ok okay old on only out over poor pregnant queer ready retired rich right running russian sad
scared secret serious sick silly single sleepy so some sorry spanish stuck stupid sure swedish swiss taking
talking telling thai thankful that the there thinking thirsty this tired to today tomorrow tonight too
trying turkish ukrainian under unemployed unique unknown unsure up upset using vegan vegetarian very
vietnamese waiting well when white widowed with wondering working worried writing wrong yes you your yours
"""
_JOBS = """
accountant actor actress analyst architect artist athlete attorney author baker banker barber barista
biologist bookkeeper builder butcher carpenter cashier chef chemist cleaner clerk coach composer consultant
cook dancer dentist designer developer dietitian diplomat director doctor driver economist editor
electrician engineer farmer firefighter fisherman florist freelancer gardener geologist guide hairdresser
historian instructor intern interpreter janitor journalist judge lawyer lecturer librarian lifeguard manager
mathematician mechanic midwife miner musician novelist nurse nutritionist officer optician painter paralegal
paramedic pharmacist philosopher photographer physician physicist physiotherapist pianist pilot planner
plumber poet policeman policewoman politician porter postdoc producer professor programmer psychiatrist
psychologist realtor receptionist recruiter reporter researcher sailor salesman salesperson saleswoman
scientist secretary singer soldier statistician steward stewardess student surgeon surveyor tailor teacher
technician tester therapist trader trainer translator tutor undergraduate vet veterinarian violinist waiter
waitress welder writer
"""
_PARTICLES = frozenset(
    ("de", "del", "da", "di", "van", "von", "der", "den", "la", "le", "al", "el", "bin", "ibn")
)
_NOT_NAMES = frozenset(_NO_NAMES.split())
_KNOWN_JOBS = frozenset(_JOBS.split())

_NO_THING = re.compile(
    r"(?:it|you|u|him|her|them|that|this|these|those|yours?|the (?:way|idea|fact)"
    r"|how|what|when|where|who|why|which|if|so|but|because|since|not|though|too|also|as well|actually"
    r"|by the way|btw|please|thanks?|lol|right|one|some|something|either|ok|okay|here|there|fear|home|myself"
    r"|to (?:know|think|see|say|ask|believe|hear|thank|hate|point|be|do|get))\b",
    re.IGNORECASE,
)
_TAIL = re.compile(
    r"(?:\s+(?:any ?more|any ?longer|right now|now|nowadays|these days|currently|at the moment|too|as well"
    r"|also|though|very much|a lot|so much|the most|by the way|btw|please|already|and you))+$",
    re.IGNORECASE,
)
_AFTER_PLACE = re.compile(
    r",|\s(?:with|and|since|for|now|but|because|at the moment|right now|currently|where|which|these days"
    r"|as|too|(?:last|this|next|a|one|two|three|\d+|some|several|many) (?:few |couple of )?"
    r"(?:day|week|month|year|spring|summer|autumn|fall|winter|while)s?|in (?:19|20)\d\d|yesterday|today"
    r"|recently)\b",
    re.IGNORECASE,
)
_AFTER_JOB = re.compile(
    r",|\s(?:at|in|for|from|with|who|that|and|but|by|working|living|based|since|of)\b", re.IGNORECASE
)
_AFTER_COMPANY = re.compile(r",|\s(?:as|and|but|since|for|from|in)\b", re.IGNORECASE)
_AFTER_NAME = re.compile(r",|\s(?:and|but|by the way)\b", re.IGNORECASE)
_DATE = re.compile(r"\d|\b(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)", re.IGNORECASE)


def _name(text: str) -> Sequence[str]:
    words = _AFTER_NAME.split(text, maxsplit=1)[0].split()
    telling = [word.lower().strip(".") for word in words if word.lower() not in _PARTICLES]
    if not telling or len(words) > 4 or not _NOT_NAMES.isdisjoint(telling):
        return ()
    return (" ".join(words),) if all(re.fullmatch(r"[^\W\d_][\w.'-]*", word) for word in words) else ()


def _capital_name(text: str) -> Sequence[str]:
    """`I'm Ada` names somebody, `I'm there` does not: a name looks like one."""
    looks = re.fullmatch(r"[A-Z][\w'-]*[a-z][\w'-]*(?: [A-Z][\w.'-]*){0,2}|[\u4e00-\u9fff]{2,4}", text)
    return _name(text) if looks else ()


def _until(end: re.Pattern[str], text: str) -> Sequence[str]:
    thing = end.split(text, maxsplit=1)[0].strip()
    return () if _NO_THING.match(thing) else (thing,)


def _place(text: str) -> Sequence[str]:
    return _until(_AFTER_PLACE, text)


def _job(text: str) -> Sequence[str]:
    return _until(_AFTER_JOB, text)


def _known_job(text: str) -> Sequence[str]:
    """`I'm a …` begins much else: a job ends in a noun that is known to be one."""
    return [job for job in _job(text) if job and job.lower().split()[-1] in _KNOWN_JOBS]


def _company(text: str) -> Sequence[str]:
    return _until(_AFTER_COMPANY, text)


def _things(text: str) -> Sequence[str]:
    things: list[str] = []
    for part in re.split(r",\s*(?:and\s+|or\s+)?|\s+(?:and|or|but)\s+", text):
        thing = _TAIL.sub("", part.strip())
        if thing and not _NO_THING.match(thing):
            things.append(re.sub(r"\bmy\b", "their", thing, flags=re.IGNORECASE))
        elif not things:
            return ()  # the verb belongs to what comes first: `I like it, tea or not`
    return things


def _date(text: str) -> Sequence[str]:
    return (_TAIL.sub("", text),) if _DATE.search(text) else ()


_I_AM = r"I(?:'?m| am)"
_DO = r"I(?: (?:really|also|just|absolutely|do|truly|always|still|especially|simply|quite|now|mostly))*"
_SO = r"(?: (?:also|very|severely|highly|badly|now|already|still|currently|really|a bit))*"
KIN = (
    r"(?:wife|husband|son|daughter|brother|sister|mother|father|mom|mum|dad|partner|girlfriend|boyfriend|baby|boss"
    r"|(?:best )?friend|dog|cat|rabbit|hamster|parrot|bird|horse|turtle|puppy|kitten)"
)
_MANY = r"(?P<many>an?|one|two|three|four|five|\d)"

ENGLISH = (
    Rule(
        (
            r"my (?:full |first |real |new )?name(?:'s| is)(?: now)? (?P<x>.+)",
            r"I(?:'ve| have)? changed my name to (?P<x>.+)",
            r"I(?: now)? go by(?: the name of)? (?P<x>.+)",
            rf"{_I_AM} (?:called|named) (?P<x>.+)",
            r"(?:(?:you can|you may|please|just|everyone|people|friends) )*calls? me (?P<x>.+)",
        ),
        _name,
        *("basic_info", "name", "{x}", "The user's name is {x}"),
    ),
    Rule(
        (rf"{_I_AM} (?P<x>.+?),? from .+", rf"{_I_AM} (?P<x>.+)"),
        _capital_name,
        *("basic_info", "name", "{x}", "The user's name is {x}"),
    ),
    Rule(
        (
            rf"{_DO} (?:live|reside) (?:in|at|near) (?P<x>.+)",
            rf"{_I_AM}{_SO} (?:living|residing|based) (?:in|at|near) (?P<x>.+)",
            r"I(?:'ve| have)?(?: just| recently)? moved(?: here)? to (?P<x>.+)",
        ),
        _place,
        *("basic_info", "city", "{x}", "The user lives in {x}"),
    ),
    Rule(
        (rf"{_I_AM}(?: originally)? from (?P<x>.+)", r"I come from (?P<x>.+)"),
        _place,
        *("basic_info", "hometown", "{x}", "The user is from {x}"),
    ),
    Rule(
        (
            rf"{_I_AM}{_SO} (?P<x>\d{{1,3}})(?:[ -]years?(?:[ -]old)?| ?y/?o)?",
            r"I(?:'ve)?(?: just)? turned (?P<x>\d{1,3})",
            r"my age is (?P<x>\d{1,3})",
        ),
        age,
        *("basic_info", "age", "{x}", "The user is {x} years old"),
    ),
    Rule(
        (r"my birthday(?:'s| is)(?: on)? (?P<x>.+)", r"I was born on (?P<x>.+)"),
        _date,
        *("basic_info", "birthday", "{x}", "The user's birthday is {x}"),
    ),
    Rule(
        (r"my favou?rite (?P<kind>[\w ]{1,40}?)(?:'s| is| are) (?P<x>.+)",),
        _place,
        *("interest", "favorite {kind}", "{x}", "The user's favorite {kind} is {x}"),
    ),
    Rule(
        (
            rf"{_DO} (?:like|love|enjoy|adore|prefer) (?P<x>.+)",
            rf"{_I_AM}{_SO} (?:fond of|into|a (?:big |huge )?fan of) (?P<x>.+)",
        ),
        _things,
        *("interest", "{x}", "likes it", "The user likes {x}"),
    ),
    Rule(
        (
            rf"{_DO} (?:do not|don't|dont|no longer)(?: really)? (?:like|enjoy|love) (?P<x>.+)",
            rf"{_DO} (?:hate|dislike|detest|can't stand|cannot stand) (?P<x>.+)",
        ),
        _things,
        *("interest", "{x}", "dislikes it", "The user dislikes {x}"),
    ),
    Rule(
        (rf"{_DO} (?:do not|don't|dont|can't|cannot|can not|never|no longer) (?P<does>eat|drink) (?P<x>.+)",),
        _things,
        *("interest", "{x}", "does not {does} it", "The user does not {does} {x}"),
    ),
    Rule(
        (rf"{_I_AM}{_SO} allergic to (?P<x>.+)", r"I have an?(?: severe| bad)? (?P<x>[\w ]+?) allergy"),
        _things,
        *("health", "{x}", "allergic", "The user is allergic to {x}"),
    ),
    Rule(
        (
            rf"{_DO}(?: currently)? work as (?P<a>an? )?(?P<x>.+)",
            r"my (?:job|profession|occupation) is (?P<a>an? )?(?P<x>.+)",
        ),
        _job,
        *("work", "job", "{x}", "The user works as {a}{x}"),
    ),
    Rule(
        (rf"{_I_AM}{_SO} (?:working as )?(?P<a>an?) (?P<x>.+)",),
        _known_job,
        *("work", "job", "{x}", "The user is {a} {x}"),
    ),
    Rule(
        (
            rf"{_DO}(?: currently)? work (?:at|for) (?P<x>.+)",
            rf"{_I_AM}{_SO} (?:working|employed) (?:at|for|by) (?P<x>.+)",
        ),
        _company,
        *("work", "employer", "{x}", "The user works for {x}"),
    ),
    Rule(
        (rf"my (?P<who>{KIN})(?:'s name is|'s called| is called| is named| is) (?P<x>.+)",),
        _capital_name,
        *("family", "{who}", "{x}", "The user's {who} is called {x}"),
    ),
    Rule(
        (rf"I(?:'ve| have)(?: got)? {_MANY} (?P<kind>(?:\w+ )?{KIN}) (?:named|called) (?P<x>.+)",),
        _name,
        *("family", "{kind}", "{x}", "The user has {many} {kind} called {x}"),
    ),
    Rule(
        (rf"I(?:'ve| have)(?: got)? {_MANY} (?P<x>(?:\w+ )?{KIN}s?)",),
        _things,
        *("family", "{x}", "{many} {x}", "The user has {many} {x}"),
    ),
)
