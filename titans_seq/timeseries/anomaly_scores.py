"""A causal anomaly score of a series, from parts that read the standardised rows, at a fixed size of state.

    z_t   = the row on the scale of the rows before it           (`standardise`)
    raw_t = sum over parts of weight x part(z_0 ... z_t)
    s_t   = (1 - 1/tau) s_{t-1} + raw_t / tau                    divided by the weight that has come in so far

An anomaly lasts; the running mean over ``tau`` rows is worth more than any change of the parts (LOG.md). Row t is
scored from rows 0 .. t alone, the same to the last bit however the series was cut, and missing rows get NaN.

Which parts make up a method is `METHODS`. The default and its numbers were chosen on NAB as a whole; what such a choice
is worth on families of series it has not seen is what ``tests/benchmarks/nab.py`` prints as "left out". A part that
needs a model comes from above (`titans_seq.tasks.series_surprise`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from titans_seq.errors import RangeError, unknown_name
from titans_seq.timeseries.lag_pca import LagPca
from titans_seq.timeseries.standardise import Arrays, Rows, Standardiser
from titans_seq.timeseries.whitened import Whitened


class Part(Protocol):
    """One causal score of standardised rows."""

    def update(self, z: Rows) -> Rows:
        """Take rows [T] in; give their scores [T], NaN where z is NaN."""

    def arrays(self) -> Arrays:
        """The state, under names; a fixed size."""

    def load(self, arrays: Arrays) -> None:
        """Put a state back."""


@dataclass(frozen=True, slots=True)
class ScoreSettings:
    """The numbers of a score; part of the state, since other numbers are another score.

    Attributes
    ----------
    window, kept
        Rows of a lag window, and leading components that count as usual (`LagPca`).
    order
        Rows that the autoregression looks back on (`Whitened`).
    smooth
        Rows of the running mean, tau; 1 leaves each row alone.
    span
        Rows after which the past fades.
    """

    window: int = 64
    kept: int = 3
    order: int = 16
    smooth: int = 50
    span: int = 10_000

    def __post_init__(self) -> None:
        if self.smooth < 1 or self.order < 1 or self.span < 2 * self.window:
            raise RangeError(f"expected smooth >= 1, order >= 1 and span >= 2 window, found {self}")


METHODS: Final[Mapping[str, Mapping[str, float]]] = {
    "pca+level": {"pca": 1.0, "level": 0.2},
    "pca": {"pca": 1.0},
    "whitened": {"whitened": 1.0},
    "zscore": {"zscore": 1.0},
    "surprise": {"surprise": 1.0},
    "all": {"pca": 1.0, "level": 0.2, "surprise": 0.1},
}
"""Weights of the parts by method. ``surprise`` is the memory's and is passed in."""

DEFAULT: Final = "pca+level"


class Level:
    """How far the row itself is from the mean: |z|^power. Nothing to remember."""

    def __init__(self, *, power: int) -> None:
        self.power = power

    def update(self, z: Rows) -> Rows:
        return np.abs(z) ** self.power

    def arrays(self) -> Arrays:
        return {}

    def load(self, arrays: Arrays) -> None:
        del arrays


class AnomalyScore:
    """Standardise, score by parts, smooth; carries all of their states.

    Parameters
    ----------
    parts
        By name, each with its weight.

    Examples
    --------
    >>> score = build_score("zscore", ScoreSettings(smooth=1))
    >>> float(score.update(np.array([0.0, 1.0] * 50 + [9.0]))[-1] > 10)
    1.0
    """

    def __init__(self, parts: Mapping[str, tuple[float, Part]], *, smooth: int, span: int) -> None:
        self.parts = dict(parts)
        self.smooth = smooth
        self.standardiser = Standardiser(span=span)
        self._mean = 0.0
        self._weight = 0.0

    def update(self, values: Rows) -> Rows:
        """Take the next rows [T] in, NaN where missing; give their scores [T]."""
        z = self.standardiser.update(np.asarray(values, dtype=np.float64))
        raw = np.where(np.isnan(z), np.nan, 0.0)
        for weight, part in self.parts.values():
            raw += weight * part.update(z)
        return self._smoothed(raw)

    def _smoothed(self, raw: Rows) -> Rows:
        scores = np.full(raw.shape, np.nan)
        mean, weight, step = self._mean, self._weight, 1 / self.smooth
        for row, value in enumerate(raw.tolist()):
            if value == value:
                mean += step * (value - mean)
                weight += step * (1 - weight)
                scores[row] = mean / weight
        self._mean, self._weight = mean, weight
        return scores

    def arrays(self) -> Arrays:
        """The state under names ``part/array``."""
        named = {"smooth/mean": np.array([self._mean, self._weight])}
        named |= {f"standardise/{name}": array for name, array in self.standardiser.arrays().items()}
        for key, (_, part) in self.parts.items():
            named |= {f"{key}/{name}": array for name, array in part.arrays().items()}
        return named

    def load(self, arrays: Arrays) -> None:
        """Put back what `arrays` of a score of the same parts gave."""
        self._mean, self._weight = arrays["smooth/mean"].tolist()
        self.standardiser.load(_below(arrays, "standardise"))
        for key, (_, part) in self.parts.items():
            part.load(_below(arrays, key))


def build_score(method: str, settings: ScoreSettings, *, surprise: Part | None = None) -> AnomalyScore:
    """Put a named score together.

    Raises
    ------
    UnknownNameError
        No such method, or one with a part ``surprise`` that was not passed in.
    """
    if method not in METHODS or ("surprise" in METHODS[method] and surprise is None):
        raise unknown_name("anomaly score", method, METHODS)
    built: dict[str, tuple[float, Part]] = {}
    for name, weight in METHODS[method].items():
        if name == "surprise":
            assert surprise is not None
            built[name] = (weight, surprise)
        else:
            built[name] = (weight, _part(name, settings))
    return AnomalyScore(built, smooth=settings.smooth, span=settings.span)


def _part(name: str, settings: ScoreSettings) -> Part:
    if name == "pca":
        return LagPca(window=settings.window, kept=settings.kept, span=settings.span)
    if name == "whitened":
        return Whitened(order=settings.order, span=settings.span)
    return Level(power=2 if name == "level" else 1)


def _below(arrays: Arrays, key: str) -> Arrays:
    return {name.removeprefix(f"{key}/"): array for name, array in arrays.items() if name.startswith(f"{key}/")}
