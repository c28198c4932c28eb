"""Search a genome for its far copies with the table: one pass, each context looked up and then written.

All contigs are one stream with unknown tokens between them, so a copy of another contig is found too. The table keeps
the *first* sight of each k-mer, and both strands are sought; what it says is that the next base is likely the one at
`source`. `titans_seq.genomics.repeats` turns runs of such places into intervals.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from math import inf

import numpy as np
import torch

from titans_seq.errors import ConfigError
from titans_seq.genomics import N_TOKEN, Genome
from titans_seq.genomics.alphabet import Tokens
from titans_seq.genomics.novelty import Novelty
from titans_seq.genomics.repeats import Places, Repeat, Run, grown, joined, runs_of
from titans_seq.genomics.tracks import BinMeans, Values
from titans_seq.memory import Table, TableSpec, TableState
from titans_seq.memory.table_layout import Layout

GAP = 64
"""Unknown tokens between two contigs: longer than any context."""
PIECE = 1 << 16
JOIN = 100
"""Runs of one offset that lie so close are one repeat with changed bases between them."""


@dataclass(frozen=True)
class JoinedContigs:
    """Contigs end to end with `GAP` unknown tokens between them."""

    genome: Genome
    names: tuple[str, ...]
    bounds: tuple[Places, Places] = field(init=False)

    def __post_init__(self) -> None:
        lengths = [self.genome.contig(name).length for name in self.names]
        ends = np.cumsum(np.array(lengths) + GAP)
        object.__setattr__(self, "bounds", (ends - np.array(lengths) - GAP, ends - GAP))

    @property
    def length(self) -> int:
        """Tokens of the stream."""
        return int(self.bounds[1][-1])

    def tokens(self, start: int, stop: int) -> Tokens:
        """Tokens at positions ``start .. stop``; N between contigs and beyond the ends."""
        found = np.full(stop - start, N_TOKEN, dtype=np.uint8)
        starts, ends = self.bounds
        for number in range(int(np.searchsorted(ends, max(start, 0), side="right")), len(self.names)):
            first, last = int(starts[number]), int(ends[number])
            if first >= stop:
                break
            left, right = max(start, first), min(stop, last)
            if left < right:
                found[left - start : right - start] = self.genome.tokens(
                    self.names[number], left - first, right - first
                )
        return found

    def place(self, start: int, stop: int) -> tuple[str, int]:
        """The contig that holds ``start .. stop``, and where it begins in it."""
        starts, ends = self.bounds
        number = int(np.searchsorted(ends, start, side="right"))
        assert starts[number] <= start < stop <= ends[number], "a repeat crosses the end of a contig"
        return self.names[number], start - int(starts[number])


def find_repeats(
    stream: JoinedContigs,
    *,
    seed: int,
    least: int,
    megabytes: float,
    novelty: Novelty | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> list[Repeat]:
    """Give every repeat of at least ``least`` bases that holds ``seed`` bases without a change, in order.

    Parameters
    ----------
    megabytes
        Limit of the table. Where it cannot hold the whole stream, far copies would be lost.
    novelty
        Marks what was there before, if wanted. What stood less than 64 bases before, a chunk of the table, may be
        missed: such a piece of a chunk is not written yet when it is read.

    Raises
    ------
    ConfigError
        For a limit below what the stream needs, with that.
    """
    spec = TableSpec(orders=(1,), copies=(seed,), sight="first", tolerance=8, megabytes=megabytes)
    table = Table(spec)
    with torch.inference_mode():
        state = table.initial_state(1, tokens=stream.length)
        if state.layout.capacity < stream.length:
            least_mb = Layout(replace(spec, megabytes=inf), stream.length).bytes / 1e6
            raise ConfigError(
                f"{stream.length:,} bases need a table of {least_mb:,.0f} MB, --table-mb allows {megabytes:,.0f}; "
                "give more, or fewer contigs by --chroms"
            )
        runs = list(joined(_runs(table, state, stream, novelty, progress), gap=JOIN))
    return grown(runs, stream.tokens, seed=seed, least=least)


def novelty_means(novelty: Novelty, stream: JoinedContigs, *, size: int) -> Iterator[tuple[str, Values]]:
    """Means of the novelty over bins of ``size`` bases, contig after contig."""
    for name, first, last in zip(stream.names, *(bound.tolist() for bound in stream.bounds), strict=True):
        bins = BinMeans(last - first, size=size)
        for start in range(first, last, PIECE):
            bins.add(start - first, novelty.values(start, stream.tokens(start, min(start + PIECE, last))))
        yield name, bins.means()


def _runs(
    table: Table, state: TableState, stream: JoinedContigs, novelty: Novelty | None, progress: Callable[[int], None]
) -> Iterator[Run]:
    for start in range(0, stream.length, PIECE):
        stop = min(start + PIECE, stream.length)
        tokens = stream.tokens(start, stop)
        copies = table.read(torch.from_numpy(tokens.astype(np.int64))[None], state).copies
        source = copies.source[0].numpy()
        if novelty is not None:
            run, symbol = copies.run[0].numpy(), copies.symbol[0].numpy()
            novelty.mark(start, tokens, run=run, symbol=symbol, live=source >= 0)
        found = [
            run
            for column, (_, inverted) in enumerate(table.spec.followed)
            for run in runs_of(start + 1, source[:, column], inverted=inverted)
        ]
        yield from sorted(found)
        progress(stop)
