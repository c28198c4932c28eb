"""The time axis of a panel: from stamps to row positions on an even grid and back, and the guess of its step.

Stamps are *ticks* here: microseconds since 1970 (UTC where a zone is known, wall time otherwise), or plain integers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from titans_seq.errors import ConfigError

Ticks = NDArray[np.int64]
Unit = Literal["us", "month", "business day", "row", "integer"]

SECOND: Final = 1_000_000
DAY: Final = 86_400 * SECOND
_FIXED: Final = {"us": 1, "ms": 1000, "s": SECOND, "m": 60 * SECOND, "h": 3600 * SECOND, "d": DAY, "w": 7 * DAY}
_MONTHS: Final = {"mo": 1, "q": 3, "y": 12}
_ALIASES: Final = {"min": "m", "t": "m", "hour": "h", "day": "d", "ms": "mo", "me": "mo", "month": "mo", "b": "bd"}


@dataclass(frozen=True, slots=True)
class Clock:
    """An even time axis.

    Attributes
    ----------
    unit, step
        ``us`` (microseconds), ``month``, ``business day`` (Monday to Friday), ``integer`` (an index), or ``row``: the
        stamps are uneven and rows are counted instead; ``step`` is then their mean distance in microseconds.
    origin
        Tick of position 0.
    month_end
        Whether monthly stamps stand at the last day of the month.
    zone
        Name of the zone in which stamps are written; None for stamps without one.
    dates
        Whether stamps are written as dates, without a time of day.
    """

    unit: Unit
    step: int
    origin: int
    month_end: bool = False
    zone: str | None = None
    dates: bool = False

    @property
    def name(self) -> str:
        """The step in the spelling of polars: ``1h``, ``15m``, ``1mo``; ``1bd``, ``1`` and ``rows`` beside it."""
        if self.unit == "integer":
            return str(self.step)
        if self.unit == "row":
            return "rows"
        if self.unit == "business day":
            return "1bd"
        if self.unit == "month":
            for letter, size in (("y", 12), ("q", 3), ("mo", 1)):
                if self.step % size == 0:
                    return f"{self.step // size}{letter}"
        for letter in ("w", "d", "h", "m", "s", "ms", "us"):
            if self.step % _FIXED[letter] == 0:
                return f"{self.step // _FIXED[letter]}{letter}"
        return f"{self.step}us"

    def positions(self, ticks: Ticks) -> tuple[Ticks, NDArray[np.bool_]]:
        """Give each tick's position, and whether it stands on the grid exactly.

        Hourly from 00:00: ``[00:00, 01:00, 03:00] -> [0, 1, 3]``. A clock that counts rows knows no positions.
        """
        if self.unit == "month":
            months = _months(ticks)
            distance = months - int(_months(np.array([self.origin]))[0])
            position = distance // self.step
            return position, ticks == self.ticks(position)
        if self.unit == "business day":
            days = ticks.astype("M8[us]").astype("M8[D]")
            origin = np.datetime64(self.origin, "us").astype("M8[D]")
            position = np.busday_count(origin, days).astype(np.int64)
            return position, ticks == self.ticks(position)
        distance = ticks - self.origin
        return distance // self.step, distance % self.step == 0

    def ticks(self, positions: Ticks) -> Ticks:
        """Give the tick of each position; the inverse of `positions`."""
        positions = np.asarray(positions, dtype=np.int64)
        if self.unit == "month":
            origin = np.datetime64(self.origin, "us")
            first = origin.astype("M8[M]") + positions * self.step
            if self.month_end:
                day = (first + 1).astype("M8[D]") - np.timedelta64(1, "D")
            else:
                day_of_month = origin.astype("M8[D]") - origin.astype("M8[M]").astype("M8[D]")
                day = first.astype("M8[D]") + day_of_month
            time_of_day = origin - origin.astype("M8[D]")
            return (day.astype("M8[us]") + time_of_day).astype(np.int64)
        if self.unit == "business day":
            origin = np.datetime64(self.origin, "us")
            days = np.busday_offset(origin.astype("M8[D]"), positions)
            return (days.astype("M8[us]") + (origin - origin.astype("M8[D]"))).astype(np.int64)
        return self.origin + positions * self.step

    def after(self, last_tick: int, last_position: int, count: int) -> Ticks:
        """Give the ticks of the ``count`` positions behind a row."""
        steps = np.arange(1, count + 1, dtype=np.int64)
        if self.unit == "row":
            return last_tick + steps * self.step
        return self.ticks(last_position + steps)


def parse_frequency(text: str) -> tuple[Unit, int]:
    """Read a frequency: ``1h``, ``15m``, ``1d``, ``1bd``, ``1mo``, ``3mo``, ``1q``, ``1y``, ``rows``, or an integer.

    Raises
    ------
    ConfigError
        For anything else.
    """
    if text == "rows":
        return "row", 1
    if re.fullmatch(r"\d+", text):
        return "integer", _positive(int(text), text)
    match = re.fullmatch(r"(\d*)\s*([A-Za-z]+)", text.strip())
    unit = "" if match is None else match[2]
    # pandas writes MS for the start of a month where polars writes ms for milliseconds.
    unit = _ALIASES.get(unit.lower(), unit.lower()) if unit.lower() != "ms" or unit == "MS" else "ms"
    count = int(match[1] or 1) if match is not None else 0
    if unit == "bd" and count == 1:
        return "business day", 1
    if unit in _MONTHS:
        return "month", _positive(count * _MONTHS[unit], text)
    if unit in _FIXED:
        return "us", _positive(count * _FIXED[unit], text)
    raise ConfigError(f"--freq {text!r}: expected e.g. 15m, 1h, 1d, 1bd, 1w, 1mo, 1q, 1y, rows, or an integer step")


def infer_clock(ticks: Ticks, first: NDArray[np.bool_], *, integers: bool) -> Clock:
    """Guess the clock of stamps sorted by series, then time.

    Parameters
    ----------
    ticks
        Ticks without duplicates within a series, (rows,).
    first
        Whether a row is the first of its series, (rows,).
    integers
        Whether ticks are plain integers.
    """
    origin = int(ticks.min())
    steps = np.diff(ticks)[~first[1:]]
    if len(steps) == 0:
        return Clock("integer" if integers else "us", 1 if integers else DAY, origin)
    sizes, counts = np.unique(steps, return_counts=True)
    usual = int(sizes[np.argmax(counts)])
    if integers:
        return Clock("integer", int(np.gcd.reduce(sizes)), origin)
    if int(sizes[0]) >= 28 * DAY and (monthly := _monthly(ticks, origin)) is not None:
        return monthly
    days = (ticks // DAY + 3) % 7  # 1970-01-01 was a Thursday; 0 is Monday
    if usual == DAY and len(ticks) >= 10 and (days < 5).all() and (steps == 3 * DAY).sum() >= len(steps) / 8:
        return Clock("business day", 1, origin)
    common = int(np.gcd.reduce(sizes))
    if common == usual or (usual % common == 0 and usual // common <= 4 and _share(steps, usual) < 0.9):
        return Clock("us", common, origin)
    if _share(steps, usual) >= 0.9 and ((ticks - origin) % usual == 0).mean() >= 0.99:
        return Clock("us", usual, origin)  # a few rows beside the grid: the reader names them
    return Clock("row", max(1, round(float(steps.mean()))), origin)


def _monthly(ticks: Ticks, origin: int) -> Clock | None:
    stamps = ticks.astype("M8[us]")
    days = stamps.astype("M8[D]")
    if len(np.unique(stamps - days)) > 1:
        return None
    day_of_month = (days - stamps.astype("M8[M]").astype("M8[D]")).astype(np.int64)
    next_day_starts_month = (days + 1).astype("M8[M]") != days.astype("M8[M]")
    month_end = bool(next_day_starts_month.all())
    if not month_end and len(np.unique(day_of_month)) > 1:
        return None
    months = np.unique(_months(ticks))
    step = int(np.gcd.reduce(np.diff(months))) if len(months) > 1 else 1
    return Clock("month", max(step, 1), origin, month_end=month_end)


def _months(ticks: Ticks) -> Ticks:
    return np.asarray(ticks).astype("M8[us]").astype("M8[M]").astype(np.int64)


def _share(steps: Ticks, usual: int) -> float:
    return float((steps == usual).mean())


def _positive(step: int, text: str) -> int:
    if step < 1:
        raise ConfigError(f"--freq {text!r}: expected a step above zero")
    return step


def stamp_text(tick: int, clock: Clock) -> str:
    """Write a tick as people read it: ``2024-03-31 02:00:00``, a date, or an integer; UTC where a zone is known."""
    if clock.unit == "integer":
        return str(tick)
    text = str(np.datetime64(tick, "us").astype("M8[s]")).replace("T", " ")
    return text[:10] if clock.dates and clock.zone is None else text + (" UTC" if clock.zone else "")
