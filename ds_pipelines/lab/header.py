"""The header of an experiment: what its file says about itself, for those who run it.

What belongs here: the header's form, its keys, and which values they may have. What does not: finding files
(scripts.py), or keeping an experiment within its limits.

A header is optional, and TOML in comments as in PEP 723; in a notebook it stands in the first code cell, or under the
key `experiment` of the notebook's metadata:

    # /// experiment
    # owner = "team:marketing"
    # schedule = "0 6 * * 1"
    # memory = "4 GiB"
    # ///
"""

from __future__ import annotations

import math
import re
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ds_pipelines.errors import HeaderError
from ds_pipelines.evidence import Limits

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

BEGIN, END = "# /// experiment", "# ///"
UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12,
         "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}  # fmt: skip
OWNER = re.compile(r"team:[A-Za-z0-9_.-]{1,80}|[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9.-]{1,190}\.[A-Za-z]{2,24}")
"""What Dagster takes for an owner."""
CRON = (("minute", 0, 59), ("hour", 0, 23), ("day of the month", 1, 31), ("month", 1, 12), ("day of the week", 0, 6))


NO_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Header:
    """What an experiment says about itself; None where it says nothing."""

    owner: str | None = None
    schedule: str | None = None
    """When it runs by itself: five fields of cron, by the business's clock."""
    limits: Limits = NO_LIMITS
    """What it asks for."""
    tolerance: float | None = None
    """Relative difference of numbers that a reproduction may show."""
    forecast: Literal["refuse"] | bool | None = None
    """Whether its need of time and memory is foretold before it runs; and whether it is refused if it may not fit."""
    question: str | None = None
    """What it is to answer; runs on the same question are found together."""


NONE = Header()


def blocks(text: str) -> tuple[dict[int, str], str]:
    """The header's lines by their number in the text, without the comment sign; and the text with them left empty.

    Raises:
        HeaderError: there are two headers, or one that does not end.
    """
    lines, found, rest = text.splitlines(), dict[int, str](), []
    inside = seen = False
    for number, line in enumerate(lines, 1):
        bare = line.rstrip()
        if not inside and bare == BEGIN:
            if seen:
                raise HeaderError(f"line {number}", "a second beginning", "one header")
            inside = seen = True
        elif inside and bare == END:
            inside = False
        elif inside:
            if not bare.startswith("#"):
                raise HeaderError(f"line {number}", "a line that is no comment", f"the end, `{END}`, before it")
            found[number] = bare[1:].removeprefix(" ")
        else:
            rest.append(line)
            continue
        rest.append("")
    if inside:
        raise HeaderError(f"line {len(lines)}", "the end of the file", f"the end, `{END}`, before it")
    return found, "\n".join(rest)


def parse(lines: Mapping[int, str], place: str = "line {}") -> Header:
    """The header of these lines; `place` says how a line is called in a message.

    Raises:
        HeaderError: it is not TOML, has an unknown key, or a value that a key cannot have; with the line.
    """
    if not lines:
        return NONE
    first = min(lines)
    try:
        values = tomllib.loads("\n".join(lines.values()))
    except tomllib.TOMLDecodeError as error:
        at = re.search(r"at line (\d+)", str(error))
        line = first + int(at.group(1)) - 1 if at else max(lines)
        raise HeaderError(place.format(line), "this line", "TOML, as `minutes = 30`") from None
    places = {
        key: place.format(number)
        for number, line in reversed(list(lines.items()))
        for key in values
        if re.match(rf"""\s*\[*["']?{re.escape(key)}\b""", line)
    }
    return checked(values, places, place.format(first))


def checked(values: Mapping[str, Any], places: Mapping[str, str], elsewhere: str) -> Header:
    """The header with these values; `places` says where each key stands.

    Raises:
        HeaderError: a key is unknown, or cannot have its value.
    """
    read = {}
    for key, value in values.items():
        where = places.get(key, elsewhere)
        if key not in KEYS:
            raise HeaderError(where, f"the key {key!r}", f"one of {', '.join(KEYS)}")
        understand, expected = KEYS[key]
        understood = understand(value)
        if understood is None:
            raise HeaderError(where, f"the value of {key!r}", expected)
        read[key] = understood
    limits = Limits(
        seconds=read["minutes"] * 60 if "minutes" in read else None,
        memory=read.get("memory"),
        disk=read.get("disk"),
        cores=read.get("cores"),
    )
    plain = ("owner", "schedule", "tolerance", "forecast", "question")
    return Header(limits=limits, **{key: read[key] for key in plain if key in read})


def excess(asked: Limits, most: Limits) -> str | None:
    """What of these limits is more than the environment gives, in words; None if nothing is."""
    units: tuple[tuple[str, float, str], ...] = (
        ("memory", 2**30, "GiB"), ("seconds", 60, "minutes"), ("disk", 2**30, "GiB"), ("cores", 1, "cores"),
    )  # fmt: skip
    for name, unit, word in units:
        wanted, given = getattr(asked, name), getattr(most, name)
        if wanted is not None and given is not None and wanted > given:
            key = "minutes" if name == "seconds" else name
            return (
                f"the key {key!r} of its header asks for {wanted / unit:.4g} {word}, and this environment gives "
                f"{given / unit:.4g} at most (DS_EXPERIMENT_{key.upper()})"
            )
    return None


def _size(value: object) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return value if value > 0 else None
    found = re.fullmatch(r"\s*(\d{1,15}(?:\.\d{1,9})?)\s*([A-Za-z]*)\s*", value) if isinstance(value, str) else None
    if found is None or found.group(2).lower() not in UNITS:
        return None
    return int(float(found.group(1)) * UNITS[found.group(2).lower()]) or None


def _positive(value: object) -> float | None:
    fit = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value > 0
    return float(value) if fit else None  # type: ignore[arg-type]


def _tolerance(value: object) -> float | None:
    fit = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1
    return float(value) if fit else None  # type: ignore[arg-type]


def _cores(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _owner(value: object) -> str | None:
    return value if isinstance(value, str) and OWNER.fullmatch(value) else None


def _words(value: object) -> str | None:
    return value.strip() or None if isinstance(value, str) and len(value) <= 500 else None


def _forecast(value: object) -> Literal["refuse"] | bool | None:
    return "refuse" if value == "refuse" else value if isinstance(value, bool) else None


def _cron(value: object) -> str | None:
    """Five fields of numbers, ranges, steps and lists; no names and no seconds, which schedulers read differently."""
    fields = value.split() if isinstance(value, str) else []
    fit = len(fields) == len(CRON) and all(
        _cron_part(part, low, high)
        for field, (_, low, high) in zip(fields, CRON, strict=True)
        for part in field.split(",")
    )
    if not fit or _never(fields):
        return None
    return " ".join(fields)


def _cron_part(part: str, low: int, high: int) -> bool:
    found = re.fullmatch(r"(?:\*|(\d{1,2})(?:-(\d{1,2}))?)(?:/(\d{1,2}))?", part)
    if found is None:
        return False
    begin, end, step = found.groups()
    if step is not None and (int(step) < 1 or (begin is not None and end is None)):
        return False
    first = low if begin is None else int(begin)
    return low <= first <= (first if end is None else int(end)) <= high


def _never(fields: list[str]) -> bool:
    """Whether the days asked for are in none of the months: 31 February would never come."""
    days, months, weekdays = fields[2:]
    if "*" in days or "*" in months or weekdays != "*":
        return False
    longest = {2: 29, 4: 30, 6: 30, 9: 30, 11: 30}
    first = min(int(part.split("-")[0].split("/")[0]) for part in days.split(","))
    named = (re.match(r"(\d+)(?:-(\d+))?", part) for part in months.split(","))
    spans = ((int(each.group(1)), int(each.group(2) or each.group(1))) for each in named if each)
    return all(first > longest.get(month, 31) for low, high in spans for month in range(low, high + 1))


KEYS: dict[str, tuple[Callable[[object], Any], str]] = {
    "owner": (_owner, "an e-mail address, or team:name"),
    "schedule": (_cron, "five fields of cron in numbers, as 0 6 * * 1, that come true some day"),
    "memory": (_size, "bytes, or as 4 GiB"),
    "minutes": (_positive, "a number above 0"),
    "disk": (_size, "bytes, or as 10 GiB"),
    "cores": (_cores, "a whole number from 1 on"),
    "tolerance": (_tolerance, "a number from 0 to below 1, as 1e-6"),
    "forecast": (_forecast, 'true, false, or "refuse"'),
    "question": (_words, "a question in up to 500 characters"),
}
"""How the value of each key is understood, and what is expected of it."""
