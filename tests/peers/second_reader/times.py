"""Times as seconds since 1970 and nanoseconds that count up from the second."""

import re

from .refusal import Refusal, require

Time = tuple[int, int]

RFC_3339 = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{0,8}[1-9]))?Z", re.ASCII)
UNIX = re.compile(r"(-?\d+)\.(\d{9})", re.ASCII)
MONTH_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def parse(text: object) -> Time:
    """The time that is written by RFC 3339, in UTC."""
    match = RFC_3339.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise Refusal("time", f"{text!r} is not a time of RFC 3339 in UTC")
    year, month, day, hour, minute, second = map(int, match.groups()[:6])
    month_is = 1 <= month <= 12
    require(
        month_is and 1 <= day <= days_in(year, month) and hour < 24 and minute < 60 and second < 60,
        "time",
        f"there is no {text}",
    )
    seconds = ((days_since_1970(year, month, day) * 24 + hour) * 60 + minute) * 60 + second
    return seconds, int((match[7] or "").ljust(9, "0"))


def parse_unix(text: object) -> Time:
    """The time that is written as seconds and nanoseconds."""
    match = UNIX.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise Refusal("time", f"{text!r} is not SECONDS.NNNNNNNNN")
    return int(match[1]), int(match[2])


def is_leap(year: int) -> bool:
    """Whether a year of the Gregorian calendar has 366 days."""
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def days_in(year: int, month: int) -> int:
    """How many days a month has."""
    return MONTH_DAYS[month - 1] + (month == 2 and is_leap(year))


def days_since_1970(year: int, month: int, day: int) -> int:
    """Days from 1970-01-01, in the Gregorian calendar carried back to year 0."""
    past = year - 1
    before_year = 365 * year + past // 4 - past // 100 + past // 400 + 1
    before_month = sum(days_in(year, earlier) for earlier in range(1, month))
    return before_year + before_month + day - 1 - 719_528


def write(time: Time) -> dict[str, str]:
    """The member of JSON that tells a time."""
    seconds, nanoseconds = time
    days, second = divmod(seconds, 86_400)
    year = 1970 + days * 400 // 146_097
    while days_since_1970(year, 1, 1) > days:
        year -= 1
    while days_since_1970(year + 1, 1, 1) <= days:
        year += 1
    if not 0 <= year <= 9999:
        return {"modified_at_unix": f"{seconds}.{nanoseconds:09}"}
    month = max(month for month in range(1, 13) if days_since_1970(year, month, 1) <= days)
    day = days - days_since_1970(year, month, 1) + 1
    fraction = f".{nanoseconds:09}".rstrip("0").rstrip(".")
    clock = f"{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}{fraction}"
    return {"modified_at": f"{year:04}-{month:02}-{day:02}T{clock}Z"}
