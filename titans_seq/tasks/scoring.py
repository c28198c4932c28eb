"""Score stretches of a genome with a trained model: one cost per base, streams side by side.

A `Piece` is one stream: it is read from ``start`` to ``stop`` with a memory that begins empty, and its bases from
``keep`` on are scored. What differs between the arms of an evaluation (memory carried, reset, off) is only how the
same held-out bases are cut into pieces:

- one long piece that starts far in front of ``keep``: carried from there;
- many short pieces: reset at each.

Rows take the next piece when theirs has ended; the rest of a row is filled with masked tokens up to the end of the
call, where the row is reset, so pieces never touch each other. The result does not depend on rows or length.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from titans_seq.tasks.base_context import UNKNOWN
from titans_seq.tasks.next_base import NextBase, NextBaseState, nats_per_base

Fetch = Callable[[str, int, int], NDArray[np.uint8]]
"""Tokens of a contig: ``fetch(name, start, end)``."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One stream to read and the part of it to score, 0-based half-open on the forward strand.

    Attributes
    ----------
    contig
        Name of the contig.
    start, stop
        What is read.
    keep
        First base scored; at least ``start + 1``, since a stream's first base has nothing before it.
    """

    contig: str
    start: int
    stop: int
    keep: int

    def __post_init__(self) -> None:
        if not self.start < self.keep <= self.stop:
            raise ValueError(f"expected start < keep <= stop, found {self}")


@dataclass(slots=True)
class _Row:
    """What one row of the batch is reading: a piece, how far it is, and where its costs go."""

    piece: Piece
    at: int
    costs: NDArray[np.float32]


@torch.no_grad()
def score_pieces(
    task: NextBase,
    pieces: Sequence[Piece],
    fetch: Fetch,
    *,
    rows: int,
    length: int,
    device: torch.device | str = "cpu",
    progress: Callable[[int], None] | None = None,
) -> list[NDArray[np.float32]]:
    """Give the cost of each scored base, in nats.

    Parameters
    ----------
    task
        The trained model; put into evaluation mode here and back afterwards.
    pieces
        What to read and score.
    fetch
        Gives the tokens of a contig.
    rows
        Pieces read side by side, at most.
    length
        Tokens of a call; must be a multiple of the encoder's border.
    progress
        Called with the number of bases read since its last call.

    Returns
    -------
    list
        For each piece float32 costs of the bases ``keep .. stop``; NaN where the base is unknown.
    """
    results = [np.full(piece.stop - piece.keep, np.nan, dtype=np.float32) for piece in pieces]
    # Longest first, so that the last calls are not one row wide while the others wait.
    order = sorted(range(len(pieces)), key=lambda index: pieces[index].start - pieces[index].stop)
    waiting = iter(order)
    active: list[_Row | None] = [None] * min(rows, len(pieces))
    state: NextBaseState | None = None
    was_training, mixing = task.training, task.mixing
    expected = 0 if mixing is None else mixing.expected
    if mixing is not None:
        mixing.expected = max((piece.stop - piece.start for piece in pieces), default=1)
    task.eval()
    try:
        while True:
            fresh = torch.zeros(len(active), dtype=torch.bool)
            for index, row in enumerate(active):
                if row is None or row.at >= row.piece.stop:
                    follower = next(waiting, None)
                    active[index] = None if follower is None else _begin(pieces[follower], results[follower])
                    fresh[index] = follower is not None
            if all(row is None for row in active):
                return results
            state = _score_call(task, active, fetch, length=length, device=device, state=state, fresh=fresh)
            read = 0
            for row in active:
                if row is not None:
                    read += min(length, row.piece.stop - row.at)
                    row.at += length
            if progress is not None:
                progress(read)
    finally:
        task.train(was_training)
        if mixing is not None:
            mixing.expected = expected


def _begin(piece: Piece, costs: NDArray[np.float32]) -> _Row:
    return _Row(piece=piece, at=piece.start, costs=costs)


def _score_call(
    task: NextBase,
    active: Sequence[_Row | None],
    fetch: Fetch,
    *,
    length: int,
    device: torch.device | str,
    state: NextBaseState | None,
    fresh: torch.Tensor,
) -> NextBaseState:
    """Read ``length`` tokens in each row and put the costs where they belong."""
    joined = np.full((len(active), length + 1), UNKNOWN, dtype=np.uint8)
    for index, row in enumerate(active):
        if row is not None:
            part = fetch(row.piece.contig, row.at, min(row.at + length + 1, row.piece.stop))
            joined[index, : len(part)] = part
    block = torch.from_numpy(joined).to(device)
    tokens, targets = block[:, :-1], block[:, 1:]
    if state is not None:
        state = state.reset(fresh.to(device))
    logits, state = task(tokens, state=state)
    known = targets < UNKNOWN
    costs = torch.where(known, nats_per_base(logits, targets, known), torch.nan).cpu().numpy()
    for index, row in enumerate(active):
        if row is None:
            continue
        # Position i of the call costs base at + i + 1 of the contig.
        first = max(row.piece.keep, row.at + 1)
        last = min(row.piece.stop, row.at + length + 1)
        if first < last:
            row.costs[first - row.piece.keep : last - row.piece.keep] = costs[
                index, first - row.at - 1 : last - row.at - 1
            ]
    return state
