"""Training batches of labelled sequences: shuffled in every epoch, sequences of like length side by side.

No rule about lengths: a batch is filled up with N to its own longest sequence, and the model sees each row's length.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from titans_seq.genomics.alphabet import N_TOKEN
from titans_seq.genomics.labelled import LabelledSequences, Rows

_POOL = 16
"""Batches whose sequences are sorted by length together: enough that little is padding, few enough to stay random."""


@dataclass(frozen=True)
class Batch:
    """Some sequences, filled up to the longest of them.

    Attributes
    ----------
    tokens
        uint8 [B, L]; `N_TOKEN` behind the end of a row.
    lengths, labels
        int64 [B].
    reset
        bool [B], all True: no sequence goes on from the batch before.
    """

    tokens: npt.NDArray[np.uint8]
    lengths: Rows
    labels: Rows
    reset: npt.NDArray[np.bool_]


def make_batch(data: LabelledSequences, rows: Rows) -> Batch:
    """Lay sequences side by side: ``ACG`` and ``T`` become ``ACG`` and ``TNN`` with lengths 3 and 1."""
    lengths = data.lengths[rows]
    tokens = np.full((len(rows), int(lengths.max(initial=1))), N_TOKEN, dtype=np.uint8)
    for place, row in enumerate(rows.tolist()):
        tokens[place, : lengths[place]] = data[row]
    return Batch(tokens, lengths, data.labels[rows], np.ones(len(rows), dtype=np.bool_))


class LabelledBatches:
    """Endless batches; the order depends on the seed and the epoch alone, so a cursor is two numbers.

    Parameters
    ----------
    data
        What is learned from.
    size
        Sequences in a batch; a last smaller one of an epoch is left out unless it is the only one.
    """

    def __init__(self, data: LabelledSequences, *, size: int, seed: int) -> None:
        self._data = data
        self._size = min(size, len(data))
        self._seed = seed
        self.batches_per_epoch = len(data) // self._size
        self.epoch = 0
        self._next = 0
        self._order = self._shuffled()

    def __next__(self) -> Batch:
        if self._next == self.batches_per_epoch:
            self.epoch, self._next = self.epoch + 1, 0
            self._order = self._shuffled()
        rows = self._order[self._next]
        self._next += 1
        return make_batch(self._data, rows)

    def state_dict(self) -> dict[str, Any]:
        """Give the cursor as JSON-able numbers."""
        return {"epoch": self.epoch, "next": self._next}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to a cursor."""
        self.epoch, self._next = state["epoch"], state["next"]
        self._order = self._shuffled()

    def _shuffled(self) -> list[Rows]:
        """Row numbers of each batch of this epoch."""
        random = np.random.default_rng((self._seed, self.epoch))
        rows = random.permutation(len(self._data))[: self.batches_per_epoch * self._size]
        pool = self._size * _POOL
        lengths = self._data.lengths
        batches = []
        for start in range(0, len(rows), pool):
            part = rows[start : start + pool]
            part = part[np.argsort(lengths[part], kind="stable")]
            batches += np.split(part, range(self._size, len(part), self._size))
        return [batches[place] for place in random.permutation(len(batches))]
