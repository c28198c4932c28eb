"""What the training loop asks of a task: a cost for one segment of parallel streams, and a state that it carries.

The loop, its checkpoints and its metrics know nothing else, so a new task is one file of this room.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Units:
    """How a task counts and scores; the names become columns of ``metrics.csv``.

    Attributes
    ----------
    targets
        What is learned from, in the plural: ``bases``, ``labels``, ``rows``.
    score
        Name of the mean cost per target: ``bits_per_base``.
    scale
        Score = mean cost times this; 1 / log 2 turns nats into bits.
    short
        The score's unit in a progress line.
    """

    targets: str
    score: str
    scale: float
    short: str


class CarriedState(Protocol):
    """What goes from one segment to the next."""

    def detach(self) -> Self:
        """Cut the state from the graph."""

    def reset(self, rows: Tensor) -> Self:
        """Start the rows marked in ``rows`` (B,) bool afresh."""

    def tensors(self) -> dict[str, Tensor]:
        """Name every tensor of the state; `Trainable.load_state` undoes it."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one segment cost.

    Attributes
    ----------
    total
        Sum over the segment's targets, a scalar with a graph.
    targets
        How many there were.
    state
        Where the streams stand after the segment.
    """

    total: Tensor
    targets: int
    state: CarriedState


class Trainable(Protocol):
    """A task: an ``nn.Module`` with these on top."""

    units: ClassVar[Units]

    def cost(self, segment: Any, *, state: Any, device: torch.device) -> Cost:
        """Read one segment of every row (numpy arrays with a ``reset`` per row, which the caller has obeyed)."""

    def load_state(self, tensors: Mapping[str, Tensor]) -> CarriedState:
        """Rebuild a state from its tensors."""
