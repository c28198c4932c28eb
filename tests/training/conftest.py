"""A stand-in for the encoder (an average that forgets), a small genome, and streams over it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from titans_seq.tasks import BaseContext, NextBase

WIDTH = 8


@dataclass(frozen=True)
class AverageState:
    mean: Tensor
    position: int = 0

    def detach(self) -> AverageState:
        return AverageState(self.mean.detach())

    def reset(self, rows: Tensor | None = None) -> AverageState:
        if rows is None:
            return AverageState(torch.zeros_like(self.mean))
        return AverageState(torch.where(rows[:, None], torch.zeros_like(self.mean), self.mean))

    def tensors(self) -> dict[str, Tensor]:
        return {"mean": self.mean}

    @classmethod
    def from_tensors(
        cls, tensors: dict[str, Tensor], *, position: int, n_layers: int, fingerprint: str
    ) -> AverageState:
        return cls(tensors["mean"], position)

    def bind(self, encoder: Any) -> AverageState:
        return self


class AverageEncoder(nn.Module):
    """y_t = x_t + W mean_t, where mean_t forgets a tenth with every real token."""

    border = 8
    state_type = AverageState
    blocks = ()

    def fingerprint(self) -> str:
        return "average"

    def __init__(self) -> None:
        super().__init__()
        self.read = nn.Linear(WIDTH, WIDTH)
        self._on = True

    def forward(
        self, x: Tensor, *, state: AverageState | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, AverageState]:
        mean = x.new_zeros(x.shape[0], WIDTH) if state is None else state.mean
        outputs = []
        for t in range(x.shape[1]):
            new = 0.9 * mean + 0.1 * x[:, t]
            mean = new if mask is None else torch.where(mask[:, t, None], new, mean)
            outputs.append(x[:, t] + self.read(mean) * float(self._on))
        return torch.stack(outputs, dim=1), AverageState(mean)

    @contextmanager
    def memory_off(self) -> Iterator[None]:
        self._on = False
        try:
            yield
        finally:
            self._on = True


@dataclass(frozen=True)
class Rows:
    tokens: np.ndarray
    mask: np.ndarray
    reset: np.ndarray
    targets: np.ndarray
    target_mask: np.ndarray


class RandomStreams:
    """Endless segments of random bases in which every base follows from the one before, mostly."""

    def __init__(self, *, rows: int = 4, length: int = 16, seed: int = 0) -> None:
        self._rows, self._length, self._seed = rows, length, seed
        self.epoch = 0
        self.count = 0
        self.spoiled: set[int] = set()

    def __next__(self) -> Rows:
        random = np.random.default_rng((self._seed, self.count))
        steps = random.choice(4, size=(self._rows, self._length + 1), p=[0.7, 0.1, 0.1, 0.1])
        bases = (np.cumsum(steps, axis=1) % 4).astype(np.uint8)
        everywhere = np.ones((self._rows, self._length), dtype=bool)
        reset = np.zeros(self._rows, dtype=bool)
        reset[self.count % self._rows] = self.count % 3 == 0
        self.count += 1
        self.epoch = self.count // 10
        return Rows(bases[:, :-1], everywhere, reset, bases[:, 1:], everywhere)

    def state_dict(self) -> dict[str, Any]:
        return {"count": self.count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.count = state["count"]
        self.epoch = self.count // 10


@pytest.fixture
def make_task() -> Callable[[], NextBase]:
    """A task around the stand-in encoder; the same weights every time."""

    def make() -> NextBase:
        torch.manual_seed(1)
        context = BaseContext(d_model=WIDTH, window=4, kmers=(3,), kmer_width=4)
        task = NextBase(encoder=AverageEncoder(), context=context, d_model=WIDTH)
        nn.init.normal_(task.head.weight)
        return task

    return make


@pytest.fixture
def make_streams() -> Callable[[], RandomStreams]:
    return RandomStreams


@pytest.fixture
def genome() -> dict[str, np.ndarray]:
    """Two contigs of random bases, one with unknown bases inside."""
    random = np.random.default_rng(5)
    one = random.integers(0, 4, 300).astype(np.uint8)
    two = random.integers(0, 4, 130).astype(np.uint8)
    two[50:60] = 4
    return {"one": one, "two": two}
