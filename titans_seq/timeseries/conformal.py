"""Online conformal p-values: how rare is this score among the last scores of the same series?

With R_t the last ``calibration`` scores that are at least ``guard`` rows old, and n = |R_t|::

    p_t = (1 + #{s in R_t : s >= s_t}) / (n + 1)               conservative with ties
    p_t = (u_t + #{s > s_t} + u_t #{s = s_t}) / (n + 1)        randomised, u_t uniform, fixed by seed and row

While scores are exchangeable P(p_t <= alpha) <= alpha, so flagging p_t <= alpha raises false alarms at the rate asked
for; p_t <= alpha is impossible while n < 1 / alpha - 1. ``guard`` keeps an anomaly's own first rows from becoming the
yardstick of its last ones. Every score goes into R, anomalous or not: after a lasting change alarms end once the new
regime fills R. Rows of a series are not exchangeable: a smoothed score stays high for as long as it is smoothed over,
and a fixed level then flags several times what was asked for (LOG.md). So by default the level follows the flags
(adaptive conformal inference, Gibbs and Candes, NeurIPS 2021), and whatever the series does, at most
alpha T + 1 / ADAPTIVE_RATE + 1 of T rows are flagged::

    alpha_0 = alpha,   alpha_{t+1} = alpha_t + ADAPTIVE_RATE alpha (alpha - [p_t <= alpha_t])

p-values: Vovk et al., Algorithmic Learning in a Random World, 2005. The state is a ring of scores of fixed size.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from titans_seq.errors import RangeError
from titans_seq.timeseries.standardise import Arrays, Rows

Ties = Literal["conservative", "randomised"]
ADAPTIVE_RATE: Final = 0.05
"""Step of the adaptive level, as a share of alpha: 1 / this many rows may be flagged at a stretch."""


@dataclass(frozen=True, slots=True)
class ConformalSettings:
    """How p-values and flags are made.

    Attributes
    ----------
    alpha
        Share of quiet rows that may be flagged.
    calibration
        Scores compared with, n; at least 1 / alpha.
    guard
        Rows before a score may be compared with.
    skip
        First scores that are neither compared with nor given a p-value: a score that is still warming up.
    ties
        ``conservative`` or ``randomised``.
    adaptive
        Let the level follow the flags; without, p <= alpha is flagged.
    seed
        Of the randomised ties.
    """

    alpha: float = 0.001
    calibration: int = 10_000
    guard: int = 200
    skip: int = 0
    ties: Ties = "conservative"
    adaptive: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1:
            raise RangeError(f"expected alpha between 0 and 1, found {self.alpha}")
        if self.calibration < 1 / self.alpha:
            raise RangeError(
                f"alpha {self.alpha:g} needs at least {int(np.ceil(1 / self.alpha))} calibration rows, found "
                f"{self.calibration}"
            )
        if self.guard < 0 or self.skip < 0:
            raise RangeError(f"expected guard and skip of 0 rows or more, found {self.guard} and {self.skip}")

    @property
    def first_alarm(self) -> int:
        """Scored rows before an alarm is possible."""
        return self.skip + self.guard + int(np.ceil(1 / self.alpha)) - 1


class ConformalP:
    """p-values and flags of one series, row by row."""

    def __init__(self, settings: ConformalSettings) -> None:
        self.settings = settings
        self._ring = np.full(settings.calibration + settings.guard, np.nan)
        self._sorted: list[float] = []
        self._seen = 0
        self._level = settings.alpha

    def update(self, scores: Rows) -> tuple[Rows, NDArray[np.bool_]]:
        """Take the next scores [T] in; give p-values and flags [T]. A NaN score gets p NaN, no flag, no trace."""
        p = np.full(scores.shape, np.nan)
        flags = np.zeros(scores.shape, dtype=np.bool_)
        step = ADAPTIVE_RATE * self.settings.alpha if self.settings.adaptive else 0.0
        for row, score in enumerate(scores.tolist()):
            if score != score:
                continue
            if self._seen >= self.settings.skip:
                p[row] = self._p(score)
                flags[row] = p[row] <= self._level
                self._level += step * (self.settings.alpha - bool(flags[row]))
                self._remember(score)
            self._seen += 1
        return p, flags

    def _p(self, score: float) -> float:
        above = len(self._sorted) - bisect_left(self._sorted, score)
        n = len(self._sorted)
        if self.settings.ties == "conservative":
            return (1 + above) / (n + 1)
        greater = n - bisect_right(self._sorted, score)
        uniform = _uniform(self.settings.seed, self._seen)
        return (greater + uniform * (above - greater + 1)) / (n + 1)

    def _remember(self, score: float) -> None:
        """Put a score into the ring; the one ``guard`` rows back may now be compared with, the oldest leaves."""
        taken = self._seen - self.settings.skip
        size = self._ring.size
        leaving = self._ring[taken % size]
        self._ring[taken % size] = score
        if taken >= size:
            del self._sorted[bisect_left(self._sorted, float(leaving))]
        ripe = taken - self.settings.guard
        if ripe >= 0:
            insort(self._sorted, float(self._ring[ripe % size]))

    def arrays(self) -> Arrays:
        """The state: the ring, the count, the level."""
        return {"ring": self._ring, "counts": np.array([float(self._seen), self._level])}

    def load(self, arrays: Arrays) -> None:
        """Put a state of the same settings back."""
        self._ring = arrays["ring"].copy()
        self._seen, self._level = int(arrays["counts"][0]), float(arrays["counts"][1])
        taken = max(self._seen - self.settings.skip, 0)
        first = max(taken - self._ring.size, 0)
        ripe = np.arange(first, max(taken - self.settings.guard, first))
        self._sorted = sorted(self._ring[ripe % self._ring.size].tolist())


@dataclass(frozen=True, slots=True)
class Interval:
    """A stretch of flagged rows.

    Attributes
    ----------
    first, last
        Rows, both flagged.
    flagged
        Rows in it that are flagged.
    peak
        Row with the highest score.
    """

    first: int
    last: int
    flagged: int
    peak: int


def flagged_intervals(flags: NDArray[np.bool_], scores: Rows, *, join: int) -> list[Interval]:
    """Put flagged rows at most ``join`` rows apart into one interval.

    ``[F T F T F F F T]`` with join 2 gives rows 1 to 3 and row 7.
    """
    rows = np.flatnonzero(flags)
    if not rows.size:
        return []
    found = []
    for group in np.split(rows, np.flatnonzero(np.diff(rows) > join) + 1):
        peak = int(group[np.argmax(scores[group])])
        found.append(Interval(int(group[0]), int(group[-1]), group.size, peak))
    return found


def _uniform(seed: int, row: int) -> float:
    """A number in (0, 1] fixed by seed and row, so that a cut of the series does not change it."""
    return 1.0 - float(np.random.Generator(np.random.Philox(key=seed, counter=row)).random())
