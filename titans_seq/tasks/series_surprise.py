"""The surprise of a memory that learns a series while reading it, as a part of an anomaly score.

Token t is the lag window (z_{t-w+1} ... z_t) of standardised rows; an untrained `NeuralMemory` with fixed projections
reads and writes it, and the length of its surprise |u_t| (the gradient of its inner loss, before the write) says how
badly what it has learned so far explains the row::

    score_t = |u_t|^2 / (running mean of |u|^2)

The memory is the only thing that learns, online, so the score needs no training and its state has a fixed size.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import torch
from torch import Tensor

from titans_seq.memory import NeuralMemory
from titans_seq.timeseries.anomaly_scores import METHODS, AnomalyScore, Part, ScoreSettings, build_score
from titans_seq.timeseries.standardise import CLIP, Arrays, Rows

WINDOW: Final = 32
MEMORY: Final = "deltanet"
WARM: Final = 256
"""Rows before the first score; until then the memory knows too little to be surprised."""
CALL: Final = 2048
"""Rows handed to the memory at once; bounds what a call needs in RAM."""


def build_anomaly_score(method: str, settings: ScoreSettings) -> AnomalyScore:
    """`build_score`, with the memory's surprise at hand for the methods that use it."""
    surprise: Part | None = MemorySurprise(span=settings.span) if "surprise" in METHODS.get(method, ()) else None
    return build_score(method, settings, surprise=surprise)


class MemorySurprise:
    """Squared surprise of a `NeuralMemory` over its running mean.

    Parameters
    ----------
    memory
        A name of `titans_seq.memory_names()`.
    window
        Rows of a token.
    span
        Rows after which the running mean fades.
    seed
        Of the fixed projections.
    """

    def __init__(self, *, memory: str = MEMORY, window: int = WINDOW, span: int, seed: int = 0) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.memory = NeuralMemory(window, n_heads=1, memory=memory).eval()
        self.span = span
        self._past = np.zeros(window - 1)
        self._scale = np.zeros(2)
        self._state: Mapping[str, Tensor] = {**self.memory.initial_state(1), "position": torch.tensor(0)}

    @torch.no_grad()
    def update(self, z: Rows) -> Rows:
        """Take standardised rows [T] in; give their scores [T], NaN where z is NaN."""
        parts = [self._call(z[first : first + CALL]) for first in range(0, z.size, CALL)]
        return np.concatenate(parts) if parts else np.zeros(0)

    def _call(self, z: Rows) -> Rows:
        known = ~np.isnan(z)
        rows = np.concatenate([self._past, z])
        # A missing row stands as the one before it; its token is masked and writes nothing.
        source = np.maximum.accumulate(np.where(np.isnan(rows), 0, np.arange(rows.size)))
        rows = rows[source]
        windows = np.lib.stride_tricks.sliding_window_view(rows, self._past.size + 1)
        tokens = torch.from_numpy(windows.astype(np.float32))[None]
        self.memory.readings = []
        _, self._state = self.memory(tokens, self._state, torch.from_numpy(known)[None])
        surprise = self.memory.readings.pop().surprise
        self.memory.readings = None
        assert surprise is not None
        self._past = rows[z.size :].copy()
        return self._relative(np.where(known, surprise[0, 0].double().numpy() ** 2, np.nan))

    def _relative(self, surprise: Rows) -> Rows:
        scores = np.full(surprise.shape, np.nan)
        mean, count = self._scale.tolist()
        for row, value in enumerate(surprise.tolist()):
            if value == value:
                scores[row] = min(value / mean, CLIP**2) if count >= WARM and mean > 0 else 0.0
                count = min(count + 1, self.span)
                mean += (value - mean) / count
        self._scale = np.array([mean, count])
        return scores

    def arrays(self) -> Arrays:
        """The state."""
        memory = {f"memory.{name}": value.detach().numpy() for name, value in self._state.items()}
        return {"past": self._past, "scale": self._scale, **memory}

    def load(self, arrays: Arrays) -> None:
        """Put a state back."""
        self._past, self._scale = arrays["past"].copy(), arrays["scale"].copy()
        self._state = {
            name.removeprefix("memory."): torch.from_numpy(array.copy())
            for name, array in arrays.items()
            if name.startswith("memory.")
        }
