"""Vectors of numeric series: scaling, patches, a short self-supervised training, reading.

Row i of a result depends on series i and on the fitted weights and nothing else, to the last bit on a CPU: every call
of the encoder has the same shape (``rows`` series side by side, empty ones filled up with masked tokens; a length that
follows from the series' own), because the rounding of a matrix product may change with its shape.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from titans_seq.config.sections import OptimiserSection, RunSection
from titans_seq.errors import RangeError, ShapeError, unknown_name
from titans_seq.estimators.pooling import Pool
from titans_seq.streaming.readings import layer_number, tapped
from titans_seq.tasks import NextBase
from titans_seq.tasks.next_value import NextValue, NextValueState
from titans_seq.training.budget import Budget
from titans_seq.training.loop import Fitting, fit
from titans_seq.training.runtime import choose_runtime

Series = npt.NDArray[np.float64]
"""(T, C) float64: T time steps of C channels; NaN is a missing value."""

SCALES = ("fit", "series", "none")
CALL = 512
"""Tokens of a call at most, and of a training segment."""


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
        centre, spread = _level_and_size(series) if self.name == "series" else (self.centre, self.spread)
        return ((series - centre) / spread).astype(np.float32)


def _level_and_size(values: Series) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Mean and deviation of each column over what is known; 0 and 1 where there is nothing to go by."""
    known = ~np.isnan(values)
    counts = np.maximum(known.sum(axis=0), 1)
    centre = np.where(known, values, 0.0).sum(axis=0) / counts
    spread = np.sqrt(np.where(known, (values - centre) ** 2, 0.0).sum(axis=0) / counts)
    return centre, np.where(spread > 1e-12 * np.maximum(np.abs(centre), 1e-300), spread, 1.0)


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


def read_series(
    task: NextValue, tokens: Sequence[npt.NDArray[np.float32]], *, rows: int, pool: str, layer: int
) -> npt.NDArray[np.float32]:
    """Give one vector per series, (len(tokens), d_model).

    Parameters
    ----------
    tokens
        Series as patches, (n_i, V).
    rows
        Series read side by side.
    pool, layer
        See `Pool` and `titans_seq.streaming.Session`.
    """
    vectors = np.zeros((len(tokens), task.encoder.d_model), dtype=np.float32)
    layer = layer_number(layer, blocks=len(task.encoder.blocks))
    task.eval()
    for length, group in _groups(tokens, rows=rows, border=task.encoder.border):
        vectors[group] = _read_group(task, [tokens[i] for i in group], rows, length, pool=pool, layer=layer)
    return vectors


def _groups(
    tokens: Sequence[npt.NDArray[np.float32]], *, rows: int, border: int
) -> Iterator[tuple[int, npt.NDArray[np.intp]]]:
    """Series that are read in the same shape, at most ``rows`` at once: (tokens of the whole, their numbers)."""
    lengths = np.array([-(-len(token) // border) * border for token in tokens])
    for length in np.unique(lengths):
        same = np.flatnonzero(lengths == length)
        for at in range(0, len(same), rows):
            yield int(length), same[at : at + rows]


@torch.inference_mode()
def _read_group(
    task: NextValue, tokens: Sequence[npt.NDArray[np.float32]], rows: int, length: int, *, pool: str, layer: int
) -> npt.NDArray[np.float32]:
    device = next(task.parameters()).device
    block = np.full((rows, length, task.values), np.nan, dtype=np.float32)
    for row, token in enumerate(tokens):
        block[row, : len(token)] = token
    values = torch.from_numpy(block)
    call = max(CALL // task.encoder.border, 1) * task.encoder.border
    pooled = Pool(pool, rows=rows, width=task.encoder.d_model, device=device)
    state: NextValueState | None = None
    for at in range(0, length, call):
        part = values[:, at : at + call].to(device)
        known = ~part.isnan()
        seen, state = _vectors(task, part, known, state, layer=layer)
        pooled.add(seen, known.any(-1))
    return cast(npt.NDArray[np.float32], pooled.result()[: len(tokens)].cpu().numpy())


def _vectors(
    task: NextValue, part: Tensor, known: Tensor, state: NextValueState | None, *, layer: int
) -> tuple[Tensor, NextValueState]:
    # The tap needs the encoder alone, which both tasks have.
    with tapped(cast(NextBase, task), layer=layer, record=False) as tap:
        _, state = task.read(part, known, state=state)
    seen = tap.vectors()
    assert seen is not None
    return seen, state


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
