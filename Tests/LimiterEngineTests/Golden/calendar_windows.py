#!/usr/bin/env python3
"""Writes calendar windows as computed with Python's zoneinfo, the reference for CalendarGoldenTests.

    calendar_windows.py > calendar-windows.txt                 the zones below, a few instants each
    calendar_windows.py --all 12 > /tmp/all.txt                every zone of this machine, twelve instants each; then
    ESCAPEMENT_CALENDAR_WINDOWS=/tmp/all.txt swift test --filter CalendarGolden

The output contains the bytes of the zone files that it was made from, so it does not depend on the time zone database of
the machine that reads it.

    zone NAME HEX
    UNIT START INSTANT BEGIN END        seconds since the epoch

Shares nothing with the server's arithmetic. A window begins at the first second whose local time is at or after its
boundary, and this program searches for that second: it queries the zone's offset over six days, and locates each change
by bisection.
"""
import calendar
import datetime
import functools
import io
import pathlib
import random
import sys
import zoneinfo

DATABASE = pathlib.Path("/usr/share/zoneinfo")
DAY = 86_400
# The last second in 64 bits of nanoseconds, minus a little more than a year: windows at the end are truncated there.
LAST = 9_223_372_036 - 400 * DAY
EPOCH = datetime.datetime(1970, 1, 1)

SAMPLE = [
    "UTC", "Asia/Kolkata", "Asia/Kathmandu", "Europe/Berlin", "Europe/Dublin", "Europe/London", "America/New_York",
    "America/Sao_Paulo", "America/St_Johns", "America/Havana", "America/Caracas", "America/Santiago", "America/Nuuk",
    "Africa/Cairo", "Africa/Casablanca", "Africa/Monrovia", "Asia/Beirut", "Asia/Gaza", "Asia/Pyongyang",
    "Australia/Lord_Howe", "Antarctica/Troll", "Pacific/Apia", "Pacific/Kwajalein", "Pacific/Chatham",
]
# Irregular times: skipped days, clocks set back across midnight, new offsets. Dates, or instants in UTC.
TIMES = {
    "Pacific/Apia": ["2011-12-29", "2011-12-30", "2011-12-31"],
    "Pacific/Kwajalein": ["1993-08-20", "1993-08-21", "1993-08-22"],
    "America/St_Johns": ["1987-10-25", "1988-04-03", "2006-10-29", "2007-03-11", "2010-11-07T02:20", "2010-11-07T02:45"],
    "America/Sao_Paulo": ["1985-11-02", "2017-10-15", "2018-02-18", "2018-11-04", "2019-02-17"],
    "America/Havana": ["2012-04-01", "2012-11-04T04:30", "2012-11-04T05:30", "2023-03-12"],
    "Africa/Cairo": ["2014-05-15", "2014-09-25", "2023-04-28"],
    "Africa/Monrovia": ["1972-01-07"],
    "Africa/Casablanca": ["2018-10-28", "2022-03-27"],
    "Asia/Beirut": ["1993-03-28", "2023-03-26"],
    "Asia/Gaza": ["2011-08-01", "2011-09-30", "2016-03-26"],
    "America/Caracas": ["2007-12-09", "2016-05-01"],
    "America/Santiago": ["2019-04-07", "2019-09-08"],
    "America/Nuuk": ["2023-03-26", "2024-03-31"],
    "Asia/Pyongyang": ["2015-08-15", "2018-05-05"],
    "Australia/Lord_Howe": ["1981-03-01", "2020-10-04"],
    "Europe/Dublin": ["1971-10-31", "2020-03-29"],
}
PERIODS = [
    ("day", 0), ("day", 2), ("day", 23), ("week", 1), ("week", 7), ("month", 1), ("month", 15), ("month", 31),
    ("year", 1), ("year", 7),
]


class Zone:
    def __init__(self, content):
        self.zone = zoneinfo.ZoneInfo.from_file(io.BytesIO(content))

    @functools.lru_cache(maxsize=1 << 16)
    def offset(self, second):
        moment = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc) + datetime.timedelta(seconds=second)
        return int(moment.astimezone(self.zone).utcoffset().total_seconds())

    @functools.lru_cache(maxsize=1 << 16)
    def first(self, local):
        """The first second whose local time is at or after `local`."""
        second = local - 3 * DAY
        assert second + self.offset(second) < local
        while True:
            # A span with one offset, at most a quarter of an hour long.
            following = second + 900
            if self.offset(following) != self.offset(second):
                low, high = second, following
                while high - low > 1:
                    middle = (low + high) // 2
                    if self.offset(middle) == self.offset(second):
                        low = middle
                    else:
                        high = middle
                following = high
            candidate = max(second, local - self.offset(second))
            if candidate < following:
                return candidate
            second = following


def seconds(moment):
    return int((moment - EPOCH).total_seconds())


def boundaries(local, unit, start):
    """Boundaries around a local time: at least two before it and two after it."""
    moment = EPOCH + datetime.timedelta(seconds=local)
    midnight = datetime.datetime(moment.year, moment.month, moment.day)
    if unit == "day":
        days = [midnight + datetime.timedelta(days=number) for number in range(-4, 5)]
        return [seconds(day.replace(hour=start)) for day in days]
    if unit == "week":
        days = [midnight + datetime.timedelta(days=number) for number in range(-21, 22)]
        return [seconds(day) for day in days if day.isoweekday() == start]
    if unit == "month":
        found = []
        for number in range(moment.year * 12 + moment.month - 4, moment.year * 12 + moment.month + 3):
            year, month = divmod(number, 12)
            length = calendar.monthrange(year, month + 1)[1]
            found.append(seconds(datetime.datetime(year, month + 1, min(start, length))))
        return found
    return [seconds(datetime.datetime(year, start, 1)) for year in range(moment.year - 3, moment.year + 4)]


def window(zone, instant, unit, start):
    begins = [zone.first(local) for local in boundaries(instant + zone.offset(instant), unit, start)]
    return max(b for b in begins if b <= instant), min(b for b in begins if b > instant)


def instants(name, dice, count):
    for text in TIMES.get(name, []):
        if "T" in text:
            yield seconds(datetime.datetime.fromisoformat(text))
            continue
        noon = seconds(datetime.datetime.fromisoformat(text)) + DAY // 2
        yield from (noon - 7 * 3600, noon, noon + dice.randrange(-DAY, DAY))
    known = seconds(datetime.datetime(2024, 12, 31))
    for number in range(count):
        yield dice.randrange(0, known) if number % 2 else dice.randrange(known, LAST)
    # The last day of February in years with and without a 29th.
    for year in (1972, 2000, 2023, 2100, 2260):
        yield seconds(datetime.datetime(year, 2, 28)) + dice.randrange(2 * DAY)


def main():
    everything = sys.argv[1:2] == ["--all"]
    count = int(sys.argv[2]) if everything else 6
    names = sorted(zoneinfo.available_timezones()) if everything else SAMPLE
    for name in names:
        dice = random.Random(name)
        content = (DATABASE / name).read_bytes()
        zone = Zone(content)
        print("zone", name, content.hex())
        for instant in instants(name, dice, count):
            for unit, start in PERIODS if everything else PERIODS[:1] + dice.sample(PERIODS[1:], 3):
                print(unit, start, instant, *window(zone, instant, unit, start))


main()
