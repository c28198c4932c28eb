"""Repeats: from places where a copy was followed to intervals, a copy and where the like of it stood first.

A run of positions p that were all predicted from ``p + offset`` (or, on the other strand, ``offset - p``) is the core
of a repeat. Its seed, the k tokens before the run, agrees; from there the interval is grown to both sides as long as

    score = matches - 2 x mismatches

does not fall by more than `DROP` below its best, and cut back to that best (the X-drop rule of BLAST, Altschul et al.
1997, without gaps: an insertion ends a repeat and begins another).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from titans_seq.files import replacing
from titans_seq.genomics.alphabet import N_TOKEN, Tokens, complement

DROP: Final = 40
MISMATCH: Final = -2
_BLOCK: Final = 2048

Places = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, order=True)
class Run:
    """Positions ``start .. end`` of a stream predicted from ``p + offset``, or from ``offset - p`` if `inverted`."""

    start: int
    end: int
    offset: int
    inverted: bool


@dataclass(frozen=True, slots=True, order=True)
class Repeat:
    """``start .. end`` is like ``source .. source + (end - start)`` before it, or like its reverse complement."""

    start: int
    end: int
    source: int
    inverted: bool
    matches: int

    @property
    def identity(self) -> float:
        """Share of bases that agree."""
        return self.matches / (self.end - self.start)


def runs_of(start: int, source: Places, *, inverted: bool) -> list[Run]:
    """Join neighbouring positions with one offset; ``source`` (T,) is of positions ``start ..``, -1 for none.

    >>> runs_of(10, np.array([3, 4, 5, -1, 9]), inverted=False)
    [Run(start=10, end=13, offset=-7, inverted=False), Run(start=14, end=15, offset=-5, inverted=False)]
    """
    place = np.arange(start, start + source.size)
    offset = source + place if inverted else source - place
    live = source >= 0
    begins = live & np.append(True, ~live[:-1] | (offset[1:] != offset[:-1]))
    ends = live & np.append(~live[1:] | (offset[1:] != offset[:-1]), True)
    bounds = zip(place[begins].tolist(), (place[ends] + 1).tolist(), offset[begins].tolist(), strict=True)
    return [Run(first, last, shift, inverted) for first, last, shift in bounds]


def joined(runs: Iterable[Run], *, gap: int) -> Iterator[Run]:
    """Join runs of one offset, given in order, that lie at most ``gap`` apart (pieces of a stream end anywhere)."""
    open_runs: dict[tuple[int, bool], Run] = {}
    for run in runs:
        key = (run.offset, run.inverted)
        before = open_runs.get(key)
        if before is not None and run.start - before.end <= gap:
            open_runs[key] = Run(before.start, run.end, run.offset, run.inverted)
        else:
            if before is not None:
                yield before
            open_runs[key] = run
        if len(open_runs) > 4096:
            for old in [old for old, one in open_runs.items() if run.start - one.end > gap]:
                yield open_runs.pop(old)
    yield from open_runs.values()


def grown(runs: Iterable[Run], stream: Callable[[int, int], Tokens], *, seed: int, least: int) -> list[Repeat]:
    """Grow every run into a repeat of at least ``least`` bases; one inside another of the same offset is left out.

    Parameters
    ----------
    stream
        Tokens of positions start .. stop, N beyond the ends.
    seed
        k: the tokens before a run that are known to agree.
    """
    reached: dict[tuple[int, bool], int] = {}
    found = []
    for run in sorted(runs):
        if run.start < reached.get((run.offset, run.inverted), 0):
            continue
        right, after = _extent(stream, run.start, run, step=1)
        left, before = _extent(stream, run.start - 1, run, step=-1)
        start, end = run.start - left, run.start + right
        reached[run.offset, run.inverted] = end
        if end - start >= max(least, seed):
            source = run.offset - end + 1 if run.inverted else start + run.offset
            found.append(Repeat(start, end, source, run.inverted, before + after))
    return sorted(found)


def write_repeats(path: Path, repeats: Iterable[Repeat], place: Callable[[int, int], tuple[str, int]]) -> None:
    """Write BED6 with four columns more: where the first of its like is, and the share of bases that agree.

    ``chrom start end name score strand source_chrom source_start source_end identity``; 0-based half-open; the score
    is 1000 x identity, the strand ``-`` where the copy is inverted.

    Parameters
    ----------
    place
        Gives the contig of positions start .. end of the stream and where start is in it.
    """
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as out:
        out.write("#chrom\tstart\tend\tname\tscore\tstrand\tsource_chrom\tsource_start\tsource_end\tidentity\n")
        for number, repeat in enumerate(repeats, start=1):
            length = repeat.end - repeat.start
            chrom, start = place(repeat.start, repeat.end)
            other, source = place(repeat.source, repeat.source + length)
            out.write(
                f"{chrom}\t{start}\t{start + length}\trepeat_{number}\t{round(1000 * repeat.identity)}\t"
                f"{'-' if repeat.inverted else '+'}\t{other}\t{source}\t{source + length}\t{repeat.identity:.4f}\n"
            )


def _extent(stream: Callable[[int, int], Tokens], at: int, run: Run, *, step: int) -> tuple[int, int]:
    """How far a repeat reaches from ``at`` in one direction, and how many of these bases agree."""
    best, best_at, total, done, matches, matches_best = 0, 0, 0, 0, 0, 0
    while True:
        here = _along(stream, at + step * done, step)
        if run.inverted:
            there = complement(_along(stream, run.offset - at - step * done, -step))
        else:
            there = _along(stream, at + run.offset + step * done, step)
        known = (here != N_TOKEN) & (there != N_TOKEN)
        if run.inverted:  # behind its middle a palindrome would be found a second time
            known &= 2 * (at + step * (done + np.arange(_BLOCK))) > run.offset
        agree = (here == there) & known
        steps = np.where(known, np.where(agree, 1, MISMATCH), -DROP - 1)
        score = total + np.cumsum(steps)
        high = np.maximum.accumulate(np.maximum(score, best))
        stop = np.flatnonzero(score < high - DROP)
        last = int(stop[0]) if stop.size else score.size
        if last and int(score[:last].max()) > best:
            top = int(score[:last].argmax())
            best, best_at = int(score[top]), done + top + 1
            matches_best = matches + int(agree[: top + 1].sum())
        if stop.size:
            return best_at, matches_best
        total, matches, done = int(score[-1]), matches + int(agree.sum()), done + _BLOCK


def _along(stream: Callable[[int, int], Tokens], at: int, step: int) -> Tokens:
    """A block of tokens from ``at`` on, to the right or to the left."""
    return stream(at, at + _BLOCK) if step > 0 else stream(at - _BLOCK + 1, at + 1)[::-1]
