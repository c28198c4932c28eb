"""What a series carries: the value and causal filters of it, one number per row each.

With y_t the value of row t (rows counted per series from its first known value, standardised), S a season in rows:

    value       v_t = y_t, or v_{t-1} + v_{t-S} - v_{t-S-1} where y_t is missing (the last season, moved to here)
    profile     e_t = e_{t-S} + a_n (y_t - e_{t-S})      n = t // S cycles seen, a_n = max(rate, 1 / (n + 1))
    level       l_t = l_{t-1} + b_t (y_t - l_{t-1})      b_t = max(rate, 1 / (t + 1))
    covariate   c_t as the table gives it, standardised; 0 (its mean) where missing and before row 0

Where y_t is missing, a profile and a level stay what they were. Every filter looks back by rows only, so the last
rows of each (`Reach`) are all there is to carry, and any cut of the rows gives the same numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Known = NDArray[np.bool_]
Kind = Literal["value", "profile", "level", "covariate"]


@dataclass(frozen=True, slots=True)
class Source:
    """One number per row of a series.

    Attributes
    ----------
    kind
        ``value``, ``profile``, ``level`` or ``covariate``.
    season
        Rows of a cycle, for a profile.
    rate
        Smallest share by which a new value moves the filter.
    """

    kind: Kind = "value"
    season: int = 1
    rate: float = 1.0

    @property
    def memory(self) -> int:
        """How many earlier numbers of itself the next one needs."""
        return {"value": self.season + 1, "profile": self.season, "level": 1, "covariate": 0}[self.kind]


def before_first(sources: tuple[Source, ...], first: Array) -> Array:
    """Give what stands before a series' first row, (series, 1, sources): its first value, and 0 for covariates."""
    carried = np.array([source.kind != "covariate" for source in sources])
    return np.asarray(first[:, None, None] * carried)


def extend(
    sources: tuple[Source, ...], past: Array, rows: NDArray[np.int64], values: Array, covariates: Array | None = None
) -> tuple[Array, Known]:
    """Append rows to the sources of several series.

    Parameters
    ----------
    past
        Numbers of the last rows, (series, rows kept, sources); the first source is the value.
    rows
        Rows that each series has had so far, (series,).
    values
        New values, (series, n), NaN where missing. A series' very first value must be known.
    covariates
        Standardised covariates of the new rows in the order of their sources, (series, n, covariates).

    Returns
    -------
    numbers
        Of the new rows, (series, n, sources).
    known
        Where a value was known, (series, n).
    """
    known = np.isfinite(values)
    kept, count = past.shape[1], values.shape[1]
    whole = np.concatenate([past, np.empty((len(past), count, len(sources)))], axis=1)
    whole[:, kept:, 0] = values
    _fill(whole[:, :, 0], known, kept, sources[0].season, rows)
    given = iter(()) if covariates is None else iter(np.moveaxis(covariates, 2, 0))
    for at, source in enumerate(sources[1:], start=1):
        if source.kind == "covariate":
            whole[:, kept:, at] = next(given)
        elif source.kind == "profile":
            _profile(whole[:, :, at], values, known, kept, rows, source)
        else:
            _level(whole[:, :, at], values, known, kept, rows, source.rate)
    return whole[:, kept:], known


def _fill(line: Array, known: Known, kept: int, season: int, rows: NDArray[np.int64]) -> None:
    """Put the last season, moved to the present level, into the missing rows."""
    for series in np.flatnonzero(~known.all(axis=1)):
        for t in np.flatnonzero(~known[series]):
            here = kept + t
            # Before a season has passed there is only the last value to go on.
            seasonal = rows[series] + t > season
            step = line[series, here - season] - line[series, here - season - 1] if seasonal else 0.0
            line[series, here] = line[series, here - 1] + step


def _profile(line: Array, values: Array, known: Known, kept: int, rows: NDArray[np.int64], source: Source) -> None:
    season, count = source.season, values.shape[1]
    for first in range(0, count, season):
        stop = min(first + season, count)
        at = np.arange(first, stop)
        cycles = (rows[:, None] + at) // season
        before = line[:, kept + first - season : kept + stop - season]
        share = np.maximum(source.rate, 1.0 / (cycles + 1.0))
        moved = before + share * (np.where(known[:, at], values[:, at], 0.0) - before)
        line[:, kept + first : kept + stop] = np.where(known[:, at], moved, before)


def _level(line: Array, values: Array, known: Known, kept: int, rows: NDArray[np.int64], rate: float) -> None:
    level = line[:, kept - 1].copy()
    shares = np.maximum(rate, 1.0 / (rows[:, None] + np.arange(values.shape[1]) + 1.0)) * known
    filled = np.where(known, values, 0.0)
    for t in range(values.shape[1]):
        level = level + shares[:, t] * (filled[:, t] - level)
        line[:, kept + t] = level
