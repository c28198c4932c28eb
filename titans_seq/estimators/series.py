"""Numeric series on their way into an encoder: scaling, patches, a short self-supervised training."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from titans_seq.config.sections import OptimiserSection, RunSection
from titans_seq.errors import RangeError, ShapeError, unknown_name
from titans_seq.estimators.series_reading import CALL
from titans_seq.tasks.next_value import NextValue
from titans_seq.training.budget import Budget
from titans_seq.training.loop import Fitting, fit
from titans_seq.training.runtime import choose_runtime

Series = npt.NDArray[np.float64]
"""(T, C) float64: T time steps of C channels; NaN is a missing value."""

SCALES = ("fit", "series", "past", "none")


@dataclass(frozen=True)
class Scale:
    """How numbers are brought to about unit size.

    ``fit``: minus the mean and over the deviation of each channel over the series of the fit. ``series``: of the
    series itself (its own level and size are then not seen). ``none``: as they are.
    """

    name: str
    centre: npt.NDArray[np.float64]
    spread: npt.NDArray[np.float64]

    @classmethod
    def of(cls, name: str, series: Sequence[Series]) -> Scale:
        """Learn the scale from the series of a fit."""
        if name not in SCALES:
            raise unknown_name("scale", name, SCALES)
        channels = series[0].shape[1]
        if name != "fit":
            return cls(name, np.zeros(channels), np.ones(channels))
        return cls(name, *_level_and_size(np.concatenate(series)))

    def apply(self, series: Series) -> npt.NDArray[np.float32]:
        """Scale one series."""
        if self.name == "past":
            return _by_the_past(series)
        centre, spread = _level_and_size(series) if self.name == "series" else (self.centre, self.spread)
        return ((series - centre) / spread).astype(np.float32)


def _level_and_size(values: Series) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Mean and deviation of each column over what is known; 0 and 1 where there is nothing to go by."""
    known = ~np.isnan(values)
    counts = np.maximum(known.sum(axis=0), 1)
    centre = np.where(known, values, 0.0).sum(axis=0) / counts
    spread = np.sqrt(np.where(known, (values - centre) ** 2, 0.0).sum(axis=0) / counts)
    return centre, np.where(spread > 1e-12 * np.maximum(np.abs(centre), 1e-300), spread, 1.0)


def _by_the_past(series: Series) -> npt.NDArray[np.float32]:
    """``(x_t - m_t) / s_t`` by mean and deviation of the known rows up to t; 0 where they are all the same.

    ``[1, 3]`` is ``[0, 1]``. Of n rows none is farther out than sqrt(n - 1).
    """
    known = ~np.isnan(series)
    # Sums of squares lose digits far from zero, so the first known row is made zero.
    first = series[known.argmax(axis=0), np.arange(series.shape[1])]
    moved = np.where(known, series - first, 0.0)
    counts = np.maximum(known.cumsum(axis=0), 1)
    centre = moved.cumsum(axis=0) / counts
    variance = (moved**2).cumsum(axis=0) / counts - centre**2
    spread = np.sqrt(np.maximum(variance, 1e-12 * np.maximum(centre**2, 1e-300)))
    scaled = np.where(variance > 0, (moved - centre) / spread, 0.0)
    return np.where(known, scaled, np.nan).astype(np.float32)


def patches(series: npt.NDArray[np.float32], patch: int) -> npt.NDArray[np.float32]:
    """Lay ``patch`` time steps side by side: (T, C) to (ceil(T / patch), patch * C), filled up with NaN at the end.

    ``[[1], [2], [3]]`` with ``patch=2`` is ``[[1, 2], [3, nan]]``.
    """
    steps, channels = series.shape
    tokens = -(-steps // patch)
    filled = np.full((tokens * patch, channels), np.nan, dtype=np.float32)
    filled[:steps] = series
    return filled.reshape(tokens, patch * channels)


@dataclass(frozen=True, slots=True)
class ValueSegment:
    """One segment of series side by side, (B, L, V); ``known`` says which numbers are there."""

    values: npt.NDArray[np.float32]
    known: npt.NDArray[np.bool_]
    targets: npt.NDArray[np.float32]
    target_known: npt.NDArray[np.bool_]
    reset: npt.NDArray[np.bool_]


class SeriesStreams:
    """Endless segments: each epoch the series in a new order, ``rows`` of them side by side from beginning to end.

    Parameters
    ----------
    tokens
        Series as patches, (n_i, V).
    rows, length
        Shape of a segment.
    seed
        Of the order.
    """

    def __init__(self, tokens: Sequence[npt.NDArray[np.float32]], *, rows: int, length: int, seed: int) -> None:
        self._tokens, self._rows, self._length, self._seed = tokens, rows, length, seed
        self.epoch, self._group, self._segment = 0, 0, 0

    def __next__(self) -> ValueSegment:
        chosen = self._chosen()
        longest = max(len(self._tokens[index]) for index in chosen)
        first = self._segment * self._length
        block = np.full((self._rows, self._length + 1, self._tokens[0].shape[1]), np.nan, dtype=np.float32)
        for row, index in enumerate(chosen):
            part = self._tokens[index][first : first + self._length + 1]
            block[row, : len(part)] = part
        reset = np.full(self._rows, self._segment == 0)
        self._segment += 1
        if self._segment * self._length + 1 >= longest:
            self._segment, self._group = 0, self._group + 1
            if self._group * self._rows >= len(self._tokens):
                self._group, self.epoch = 0, self.epoch + 1
        known = ~np.isnan(block)
        return ValueSegment(block[:, :-1], known[:, :-1], block[:, 1:], known[:, 1:], reset)

    def _chosen(self) -> list[int]:
        """Numbers of the series that are read now; the last group of an epoch is filled up from its beginning."""
        order = np.random.default_rng([self._seed, self.epoch]).permutation(len(self._tokens))
        places = np.arange(self._group * self._rows, (self._group + 1) * self._rows) % len(order)
        return [int(index) for index in order[places]]

    def state_dict(self) -> dict[str, Any]:
        """Give the cursor."""
        return {"epoch": self.epoch, "group": self._group, "segment": self._segment}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to a cursor."""
        self.epoch, self._group, self._segment = state["epoch"], state["group"], state["segment"]


def train_on_series(
    task: NextValue, tokens: Sequence[npt.NDArray[np.float32]], *, steps: int, rows: int, seed: int, device: str
) -> None:
    """Train next-value prediction on these series alone, for a number of optimiser steps."""
    border = task.encoder.border
    longest = -(-max(map(len, tokens)) // border) * border
    streams = SeriesStreams(tokens, rows=rows, length=min(longest, max(CALL // border, 1) * border), seed=seed)
    run = RunSection(seed=seed, device=device, precision="float32")
    with tempfile.TemporaryDirectory() as folder:
        fitting = Fitting(Path(folder), Budget(steps, None), OptimiserSection(warmup=min(50, steps // 4)), run)
        fit(task, streams, fitting=fitting, runtime=choose_runtime(run))
    task.eval()


def check_series(series: Sequence[Series], *, channels: int | None = None) -> None:
    """Refuse series that are empty, infinite, or have different channels.

    Raises
    ------
    ShapeError, RangeError
        With the number of the series.
    """
    for number, one in enumerate(series):
        if one.ndim != 2 or one.shape[0] == 0 or one.shape[1] == 0:
            raise ShapeError(f"series {number}: expected time steps x channels, both above 0, found {one.shape}")
        expected = series[0].shape[1] if channels is None else channels
        if one.shape[1] != expected:
            raise ShapeError(f"series {number}: expected {expected} channels, found {one.shape[1]}")
        if np.isinf(one).any():
            raise RangeError(f"series {number}: holds infinity; NaN marks a missing value")
