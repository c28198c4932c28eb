"""What is read with one memory: passages of contigs, cut by the context that is asked for and by gaps.

A passage begins with an empty memory. How much of a contig lies in one passage is the *context policy*:

=============  ======================================================================================================
``contig``     one passage per contig: every base has all of the contig before it behind it
a number L     the contig is cut at 0, L, 2L ...; the passage of a block begins one block earlier, so every base of it
               has at least L and less than 2L bases behind it (all that there are, near the contig's start)
``0``          (regions only) every region is a passage of its own: its first base has nothing behind it
=============  ======================================================================================================

Blocks are counted in the direction of reading, so on strand ``-`` from the contig's end. What a base is given depends
on its coordinates, the strand and the policy alone, never on which other regions were asked for.

Runs of more than ``gap_reset`` unknown bases are not read: the memory begins anew behind them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from titans_seq.errors import ConfigError
from titans_seq.genomics import Genome, Stretch

STRANDS = ("+", "-")
_UNITS = {"": 1, "k": 1_000, "m": 1_000_000}


@dataclass(frozen=True, slots=True)
class Passage:
    """Bases of one contig and strand that one memory reads.

    Attributes
    ----------
    contig
        Name of the contig.
    strand
        ``+``, or ``-`` for the reverse complement.
    stretches
        Forward coordinates (start, end) of what is read, in the order of reading; the memory begins anew in each.
    keep
        Forward coordinates (start, end) of what is wanted; the rest is only read to fill the memory.
    """

    contig: str
    strand: str
    stretches: tuple[tuple[int, int], ...]
    keep: tuple[int, int]

    def __len__(self) -> int:
        return sum(end - start for start, end in self.stretches)

    @property
    def wanted(self) -> int:
        """Bases that are read and kept."""
        low, high = self.keep
        return sum(max(0, min(end, high) - max(start, low)) for start, end in self.stretches)

    def only(self, start: int, end: int) -> Passage:
        """The same reading, of which only what lies in ``start .. end`` (forward) is kept."""
        low, high = max(self.keep[0], start), min(self.keep[1], end)
        return replace(self, keep=(low, max(low, high)))


def parse_context(text: str) -> int | None:
    """Bases of context, or None for ``contig``.

    >>> parse_context("10k"), parse_context("1M"), parse_context("0"), parse_context("contig")
    (10000, 1000000, 0, None)
    """
    if text == "contig":
        return None
    found = re.fullmatch(r"(\d+)([kKmM]?)", text)
    if found is None:
        raise ConfigError(f"expected a context of 'contig' or a number of bases such as 0, 10k or 1M, found {text!r}")
    return int(found[1]) * _UNITS[found[2].lower()]


def whole_contig(genome: Genome, contig: str, *, strand: str = "+", gap_reset: int = 10_000) -> Passage:
    """A contig from its first base to its last, or on strand ``-`` the other way."""
    return passage(genome, contig, 0, genome.contig(contig).length, strand=strand, gap_reset=gap_reset)


def in_blocks(
    genome: Genome,
    contig: str,
    *,
    context: int | None,
    strand: str = "+",
    gap_reset: int = 10_000,
    within: tuple[int, int] | None = None,
) -> Iterator[Passage]:
    """Passages that together give every base of a contig, or of ``within`` (forward), once, under a policy (not 0)."""
    length = genome.contig(contig).length
    if context is None or context >= length:
        one = whole_contig(genome, contig, strand=strand, gap_reset=gap_reset)
        yield one if within is None else replace(one, keep=within)
        return
    if context < 1:
        raise ConfigError("a context of 0 needs regions: without any base before it there is nothing to read from")
    low, high = (0, length) if within is None else within
    # In the direction of reading, both strands look alike.
    start, end = (low, high) if strand == "+" else (length - high, length - low)
    for begin in range(start // context * context, end, context):
        first, last = max(0, begin - context), min(begin + context, end)
        ahead = (first, last) if strand == "+" else (length - last, length - first)
        wanted = max(begin, start)
        keep = (wanted, last) if strand == "+" else (length - last, length - wanted)
        yield passage(genome, contig, *ahead, strand=strand, gap_reset=gap_reset, keep=keep)


def passage(
    genome: Genome,
    contig: str,
    start: int,
    end: int,
    *,
    strand: str,
    gap_reset: int,
    keep: tuple[int, int] | None = None,
) -> Passage:
    """Bases ``start .. end`` of a contig without its long gaps; ``keep`` of them are wanted, by default all."""
    stretches = list(without_long_gaps(genome, Stretch(contig, start, end), gap_reset=gap_reset))
    ordered = stretches if strand == "+" else stretches[::-1]
    return Passage(contig, strand, tuple(ordered), (start, end) if keep is None else keep)


def without_long_gaps(genome: Genome, stretch: Stretch, *, gap_reset: int) -> Iterator[tuple[int, int]]:
    """A stretch (start, end) without its runs of more than ``gap_reset`` N."""
    at = stretch.start
    if genome.contig(stretch.contig).n_count > gap_reset:
        for start, end in genome.n_runs(stretch.contig).tolist():
            if end - start > gap_reset and end > at and start < stretch.end:
                if start > at:
                    yield at, start
                at = end
    if at < stretch.end:
        yield at, stretch.end
