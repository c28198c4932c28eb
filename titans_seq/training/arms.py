"""The arms of an evaluation: the same held-out bases and weights, cut into pieces in four ways.

==========  ==========================================================================================
carried     the memory has read the contig from its start, training part included
within      the memory starts at the held-out part
reset       the memory starts afresh in every window
off         every read of the memory is zero
table off   carried, but the table is silent: what the neural memory does alone
neural off  carried, but every read of the neural memory is zero: what the table does alone
==========  ==========================================================================================

The memory is the neural one and the table together; the last two arms stand only where a model has both.

All arms see the same local context: a window is read from a little before its first scored base. A run of unknown
bases longer than ``gap_reset`` starts the memory afresh in every arm, as it does in training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from titans_seq.tasks import Piece

ARMS = ("carried", "within", "reset", "off")
SHARES = ("table off", "neural off")
TABLE_SILENT = ("off", "table off")
NEURAL_SILENT = ("off", "neural off")
SHORTEST = 4096
"""Bases of a held-out stretch below which `limit` rather leaves stretches out."""

Costs = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Held:
    """A held-out stretch, 0-based half-open, with the long gaps of its contig.

    Attributes
    ----------
    contig, start, stop
        Where it is.
    gaps
        Runs of unknown bases that restart a memory, (R, 2), anywhere on the contig, in order.
    """

    contig: str
    start: int
    stop: int
    gaps: tuple[tuple[int, int], ...] = ()

    @property
    def length(self) -> int:
        """Bases of the stretch."""
        return self.stop - self.start

    def parts(self) -> Iterator[tuple[int, int, int]]:
        """Cut the stretch at its gaps: ``(floor, start, stop)`` with ``floor`` the first base a stream may read."""
        floor, at = 0, self.start
        for left, right in self.gaps:
            if right <= self.start:
                floor = right
            elif left < self.stop:
                if left > at:
                    yield floor, at, left
                floor, at = right, max(right, self.start)
        if at < self.stop:
            yield floor, at, self.stop


def pieces_of(
    arm: str,
    held: Sequence[Held],
    *,
    window: int,
    lead_in: int,
    piece: int,
    carry_bases: int | None,
) -> list[list[Piece]]:
    """Cut every held-out stretch into the pieces of an arm; one list for each stretch.

    A stretch 100 .. 300 of a contig with ``window=100, lead_in=10`` gives for ``reset`` the pieces
    ``90 .. 200 keep 100`` and ``190 .. 300 keep 200``, and for ``carried`` the piece ``0 .. 300 keep 100``.
    """

    def carried(floor: int, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
        return iter([(_from(floor, start, carry_bases), start, stop)])

    make: dict[str, Callable[[int, int, int], Iterator[tuple[int, int, int]]]] = {
        "carried": carried,
        "table off": carried,
        "neural off": carried,
        "within": lambda floor, start, stop: iter([(max(floor, start - 1), start, stop)]),
        "reset": lambda floor, start, stop: _windows(floor, start, stop, step=window, lead_in=lead_in),
        "off": lambda floor, start, stop: _windows(floor, start, stop, step=piece, lead_in=lead_in),
    }
    return [
        [
            Piece(contig=stretch.contig, start=first, stop=last, keep=max(keep, first + 1))
            for floor, start, stop in stretch.parts()
            for first, keep, last in make[arm](floor, start, stop)
            if last > first + 1
        ]
        for stretch in held
    ]


def arms_of(*, neural: bool, table: bool) -> tuple[str, ...]:
    """Name the arms that a model with these memories is scored in."""
    if not neural and not table:
        return ("carried",)
    return (*ARMS, *SHARES) if neural and table else ARMS


def gather(held: Held, pieces: Sequence[Piece], costs: Sequence[Costs]) -> Costs:
    """Put the costs of a stretch's pieces side by side: one number for each base, NaN where none was scored."""
    joined = np.full(held.length, np.nan, dtype=np.float32)
    for part, values in zip(pieces, costs, strict=True):
        joined[part.keep - held.start : part.stop - held.start] = values
    return joined


def limit(held: Sequence[Held], max_bases: int | None) -> list[Held]:
    """Keep at most about ``max_bases``: the beginnings of all stretches, or of stretches spread evenly over them.

    No stretch is cut to less than `SHORTEST` bases as long as fewer stretches will do: before its first base is scored,
    a memory that is carried reads the whole contig, so that many short rests cost far more than they tell.

    Two stretches of 20,000 and 10,000 bases under a limit of 15,000 are cut to about 9,000 and 6,000; of ten thousand
    stretches of 100 bases, a limit of 5,000 leaves every two-hundredth.
    """
    lengths = np.array([stretch.length for stretch in held])
    if max_bases is None or int(lengths.sum()) <= max_bases:
        return list(held)
    least = np.minimum(lengths, SHORTEST)
    spare = max_bases - int(least.sum())
    if spare >= 0:
        return _shortened(held, least + (lengths - least) * spare // int((lengths - least).sum()))
    count = max(1, len(held) * max_bases // int(least.sum()))
    chosen = np.arange(count) * len(held) // count
    room = max_bases - (np.cumsum(least[chosen]) - least[chosen])
    return _shortened([held[index] for index in chosen.tolist()], np.minimum(least[chosen], np.maximum(room, 0)))


def _shortened(held: Sequence[Held], lengths: NDArray[np.int64]) -> list[Held]:
    return [
        replace(stretch, stop=stretch.start + length)
        for stretch, length in zip(held, lengths.tolist(), strict=True)
        if length > 1
    ]


def _from(floor: int, start: int, carry_bases: int | None) -> int:
    return floor if carry_bases is None else max(floor, start - carry_bases)


def _windows(floor: int, start: int, stop: int, *, step: int, lead_in: int) -> Iterator[tuple[int, int, int]]:
    for at in range(start, stop, step):
        yield max(floor, at - max(lead_in, 1)), at, min(at + step, stop)
