"""A panel's rows as the numbers a recipe is made from, for learning from all of them at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from titans_seq.tasks.series_moments import Window, design, moments
from titans_seq.tasks.series_recipe import Recipe, take_inputs
from titans_seq.tasks.series_sources import before_first, extend
from titans_seq.tasks.series_state import Array
from titans_seq.timeseries import Panel, Series
from titans_seq.timeseries.calendar import calendar_features


@dataclass(frozen=True, slots=True)
class Track:
    """One (series, channel) pair, from its first known value on.

    Attributes
    ----------
    index
        Place in `Panel.track_ids`.
    start
        Clock position of row 0.
    numbers
        Sources, then calendar columns, standardised, (rows, columns).
    known
        Where the value was known, (rows,).
    """

    index: int
    start: int
    numbers: Array
    known: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.known)

    def usable(self, origins: NDArray[np.int64], horizon: int) -> NDArray[np.bool_]:
        """Mark the origins of which at least half of the target rows are known."""
        sums = np.concatenate([[0], np.cumsum(self.known)])
        return np.asarray(2 * (sums[origins + 1 + horizon] - sums[origins + 1]) >= horizon)


def lay_out(panel: Panel, recipe: Recipe, *, mean: Array, deviation: Array) -> list[Track]:
    """Compute every source of ``recipe`` along all rows of every track."""
    lines: list[_Line] = []
    waves: dict[str, Array] = {}
    given: dict[str, Array] = {}
    index = 0
    for series in panel:
        if recipe.inputs:
            given[series.id] = take_inputs(recipe.inputs, panel.covariates, series.covariates)
        for line in series.values.T:
            known = np.flatnonzero(np.isfinite(line))
            if len(known):
                lines.append((index, series, int(known[0]), (line[known[0] :] - mean[index]) / deviation[index]))
            index += 1
        if "calendar" in recipe.parts:
            waves[series.id] = calendar_features(series.ticks, panel.clock, recipe.calendar)
    tracks = []
    for group in _same_length(lines):
        values = np.stack([line for *_, line in group])
        past = before_first(recipe.sources, values[:, 0]).repeat(recipe.kept, axis=1)
        inputs = np.stack([given[series.id][first:] for _, series, first, _ in group]) if recipe.inputs else None
        numbers, known_rows = extend(recipe.sources, past, np.zeros(len(values), np.int64), values, inputs)
        for at, (index, series, first, _) in enumerate(group):
            columns = [numbers[at]] + ([waves[series.id][first:]] if "calendar" in recipe.parts else [])
            tracks.append(Track(index, series.start + first, np.concatenate(columns, axis=1), known_rows[at]))
    return sorted(tracks, key=lambda track: track.index)


def track_moments(track: Track, first: int, last: int, windows: tuple[Window, ...], horizon: int) -> Array:
    """Sum z z^T over a track's origins ``first`` to ``last``, those with too few known targets left out."""
    origins = np.arange(first, last)
    left_out = origins[~track.usable(origins, horizon)] if len(origins) else origins
    if 2 * len(left_out) > len(origins):
        z = design(track.numbers, np.setdiff1d(origins, left_out), windows)
        return z.T @ z
    total = moments(track.numbers, first, last, windows)
    for at in range(0, len(left_out), 2048):
        z = design(track.numbers, left_out[at : at + 2048], windows)
        total -= z.T @ z
    return total


def learn(
    spans: Sequence[tuple[Track, int, int]], windows: tuple[Window, ...], horizon: int, *,
    enough: Callable[[], bool] = lambda: False,
) -> tuple[Array, float]:  # fmt: skip
    """Sum z z^T over the origins of several tracks, the newest pieces of all of them first.

    Parameters
    ----------
    spans
        Tracks with their first and last origin (half-open).
    enough
        Asked behind each piece: whether older ones have to be left out.

    Returns
    -------
    total
        (width, width).
    share
        Of the origins that are in it, 1 unless it was enough.
    """
    width = sum(window.length for window in windows)
    total, done = np.zeros((width, width)), 0
    count = sum(max(0, last - first) for _, first, last in spans)
    # By age, and among equals spread over all tracks, so that a sum that ends early is of the newest rows of all kinds.
    pieces = [
        (age, number * 0.618 % 1, track, max(first, stop - _PIECE), stop)
        for number, (track, first, last) in enumerate(spans)
        for age, stop in enumerate(range(last, first, -_PIECE))
    ]
    for _, _, track, first, last in sorted(pieces, key=lambda piece: piece[:2]):
        if done and enough():
            break
        total += track_moments(track, first, last, windows, horizon)
        done += last - first
    return total, done / max(count, 1)


_PIECE = 65_536
_Line = tuple[int, Series, int, Array]


def _same_length(lines: list[_Line]) -> Iterator[list[_Line]]:
    """Group lines of equal length, at most some millions of values at a time."""
    by_length: dict[int, list[_Line]] = {}
    for line in lines:
        by_length.setdefault(len(line[3]), []).append(line)
    for length, group in by_length.items():
        together = max(1, 4_000_000 // length)
        for at in range(0, len(group), together):
            yield group[at : at + together]
