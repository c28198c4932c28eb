"""Read a whole sequence with a labelling model: block after block, memory carried, at constant RAM."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from titans_seq.errors import RangeError
from titans_seq.tasks.base_context import UNKNOWN
from titans_seq.tasks.base_labels import BaseLabels, BaseLabelsState

Arm = Literal["carried", "reset", "off"]


@dataclass(frozen=True)
class BlockScores:
    """What the model says of bases ``start .. start + L`` of the sequence; both strands in forward coordinates.

    Attributes
    ----------
    start
        First base.
    states
        Log-probabilities of each strand's states, float32 [2, L, K].
    sites
        Log-odds that a gene begins, float32 [2, L]; ``-inf`` where no start codon stands.
    """

    start: int
    states: NDArray[np.float32]
    sites: NDArray[np.float32]


@torch.no_grad()
def scan(
    task: BaseLabels,
    tokens: NDArray[np.uint8],
    *,
    length: int,
    arm: Arm = "carried",
    rows: int = 8,
    state: BaseLabelsState | None = None,
    progress: Callable[[int], None] | None = None,
) -> Iterator[BlockScores]:
    """Label ``tokens`` [T] in blocks of `length` bases, which is part of the model.

    Parameters
    ----------
    task
        In evaluation mode.
    arm
        ``carried``: the memory goes from block to block; ``reset``: it begins afresh in each, `rows` of them read side
        by side; ``off``: the same, and every read of the memory is zero.
    state
        What the memory holds before the first block, of one row; only for ``carried``.
    progress
        Told the bases read since the last call.

    Raises
    ------
    RangeError
        A length that does not fit the model's patches and borders.
    """
    whole = length + 2 * task.margin
    if length <= 0 or whole % (task.patch * task.encoder.border) or length % task.patch:
        raise RangeError(f"expected blocks of a multiple of {task.patch * task.encoder.border} with margins")
    device = next(task.parameters()).device
    side = 1 if arm == "carried" else rows
    starts = list(range(0, tokens.size, length))
    with task.encoder.memory_off() if arm == "off" else nullcontext():
        for first in range(0, len(starts), side):
            group = starts[first : first + side]
            block = np.stack([_window(tokens, start, length, task.margin) for start in group])
            logits, after = task(torch.from_numpy(block).to(device), state=state if arm == "carried" else None)
            state = after
            states = F.log_softmax(logits.states, -1).cpu().numpy()
            sites = logits.sites.cpu().numpy()
            for start, own_states, own_sites in zip(group, states, sites, strict=True):
                size = min(length, tokens.size - start)
                yield BlockScores(start, own_states[:, :size], own_sites[:, :size])
            if progress is not None:
                progress(sum(min(length, tokens.size - start) for start in group))


@torch.no_grad()
def read_ahead(
    task: BaseLabels,
    tokens: NDArray[np.uint8],
    *,
    length: int,
    state: BaseLabelsState | None = None,
    progress: Callable[[int], None] | None = None,
) -> BaseLabelsState | None:
    """Stream a sequence, from `state` on, and keep only what the memory holds at its end."""
    device = next(task.parameters()).device
    for start in range(0, tokens.size, length):
        block = torch.from_numpy(_window(tokens, start, length, task.margin)[None]).to(device)
        _, state = task(block, state=state)
        if progress is not None:
            progress(min(length, tokens.size - start))
    return state


def _window(tokens: NDArray[np.uint8], start: int, length: int, margin: int) -> NDArray[np.uint8]:
    window = np.full(length + 2 * margin, UNKNOWN, dtype=np.uint8)
    first, last = max(start - margin, 0), min(start + length + margin, tokens.size)
    window[first - start + margin : last - start + margin] = tokens[first:last]
    return window
