"""Seasons of a clock in rows, and the calendar of a stamp as numbers."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from titans_seq.timeseries.clock import DAY, Clock, Ticks
from titans_seq.timeseries.zones import wall_time

_YEAR: Final = 365.2425 * DAY
_PERIODS: Final = {"day": (float(DAY), 4), "week": (7.0 * DAY, 3), "year": (_YEAR, 3)}
"""Length of each cycle in microseconds, and how many harmonics describe it."""


def season_lengths(clock: Clock) -> tuple[int, ...]:
    """Give the usual seasons of a clock in rows, shortest first: 24 and 168 for hours, 12 for months.

    A clock of integers or of uneven rows tells nothing: empty, and the series must be asked (`find_season`).
    """
    if clock.unit == "month":
        return tuple(n for n in (12 // clock.step,) if n > 1 and 12 % clock.step == 0)
    if clock.unit == "business day":
        return (5,)
    if clock.unit != "us":
        return ()
    if clock.step >= 6 * DAY:
        return tuple(n for n in (round(_YEAR / clock.step),) if n > 1)
    lengths = (60 * 1_000_000, 3600 * 1_000_000, DAY, 7 * DAY)
    rows = [length // clock.step for length in lengths if length % clock.step == 0 and length > clock.step]
    return tuple(n for n in rows if 2 <= n <= 2016)[-2:]


def rows_in_a_year(clock: Clock) -> int | None:
    """Give the rows from a stamp to the one 52 weeks (a year, for months) earlier; None where no season fits."""
    if clock.unit == "month":
        return 12 // clock.step if 12 % clock.step == 0 else None
    if clock.unit != "us" or clock.step > 7 * DAY:
        return None
    return 364 * DAY // clock.step if (364 * DAY) % clock.step == 0 else None


def find_season(lines: list[NDArray[np.float64]], *, longest: int = 400) -> int:
    """Find the cycle of series without stamps: the lag with the highest autocorrelation after differencing.

    Returns
    -------
    int
        Rows of a cycle; 1 where no lag stands out (autocorrelation below 0.3).
    """
    total = np.zeros(longest + 1)
    for line in lines:
        known = line[np.isfinite(line)]
        steps = np.diff(known)
        reach = min(longest, len(steps) // 3)
        if reach < 2 or not steps.std() > 0:
            continue
        steps = (steps - steps.mean()) / steps.std()
        size = 1 << (2 * len(steps) - 1).bit_length()
        power = np.abs(np.fft.rfft(steps, size)) ** 2
        total[: reach + 1] += np.fft.irfft(power, size)[: reach + 1] / len(steps)
    # Before it has first turned negative, autocorrelation only says that neighbours are alike.
    negative = np.flatnonzero(total < 0)
    first = max(2, int(negative[0]) if len(negative) else longest)
    peaks = [lag for lag in range(first, longest) if total[lag - 1] < total[lag] >= total[lag + 1]]
    if not peaks:
        return 1
    best = max(peaks, key=lambda lag: total[lag])
    # A multiple of the cycle correlates as well as the cycle itself: take the first that is nearly as high.
    best = next(lag for lag in peaks if total[lag] >= 0.9 * total[best])
    best += int(np.argmax(total[best : min(best + best // 10 + 1, longest)]))
    return best if total[best] >= 0.3 * total[0] and total[0] > 0 else 1


def calendar_names(clock: Clock, rows: int) -> tuple[str, ...]:
    """Name the cycles of the calendar that a history of ``rows`` rows holds at least twice."""
    if clock.unit not in ("us", "month", "business day"):
        return ()
    step = clock.step if clock.unit == "us" else {"month": 30.44 * DAY * clock.step}.get(clock.unit, 1.4 * DAY)
    return tuple(name for name, (length, _) in _PERIODS.items() if 2 * step < length and rows * step >= 2 * length)


def calendar_features(ticks: Ticks, clock: Clock, names: tuple[str, ...]) -> NDArray[np.float64]:
    """Give sines and cosines of each named cycle, and of their products with the year, (rows, features).

    The stamps are read as wall time, where the clock has a zone.
    """
    wall = wall_time(ticks, clock.zone) if clock.zone is not None else ticks
    waves = {name: _waves(wall, *_PERIODS[name]) for name in names}
    columns = list(waves.values())
    if "year" in waves:
        # The shape of a day changes with the season: products of the first harmonics.
        columns += [_products(waves["day"][:, :6], waves["year"][:, :4])] if "day" in waves else []
        columns += [_products(waves["week"][:, :6], waves["year"][:, :2])] if "week" in waves else []
    return np.concatenate(columns, axis=1) if columns else np.empty((len(ticks), 0))


def calendar_width(names: tuple[str, ...]) -> int:
    """Count the columns of `calendar_features`."""
    return calendar_features(np.zeros(1, np.int64), Clock("us", DAY, 0), names).shape[1]


def _waves(wall: Ticks, length: float, harmonics: int) -> NDArray[np.float64]:
    angle = 2 * np.pi * (np.asarray(wall) % length) / length
    return np.stack([wave(k * angle) for k in range(1, harmonics + 1) for wave in (np.sin, np.cos)], axis=1)


def _products(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    return (first[:, :, None] * second[:, None, :]).reshape(len(first), -1)
