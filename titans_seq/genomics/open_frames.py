"""Open reading frames of a strand and their candidate starts, under a translation table.

Everything here is in *strand coordinates*: position i of the tokens as the strand reads them (reverse-complemented for
strand -1), 0-based half-open. A frame's `end` lies behind its stop codon. Frames that meet an edge of the sequence are
partial: without a stop they end at the last whole codon; without an upstream stop they may begin at their first codon.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

from titans_seq.errors import ConfigError, RangeError
from titans_seq.genomics.alphabet import N_TOKEN, Tokens, encode

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

USUAL_STARTS: Final[tuple[str, ...]] = ("ATG", "GTG", "TTG")
"""Starts looked for unless told otherwise, as far as the table allows them; others begin one gene in a thousand."""


@dataclass(frozen=True)
class GeneticCode:
    """Start and stop codons of one NCBI translation table; codon number = 16 a + 4 b + c with A C G T = 0 1 2 3.

    Attributes
    ----------
    table : int
        Its NCBI number.
    starts, stops : tuple of str
        Codons in upper case.
    """

    table: int
    starts: tuple[str, ...]
    stops: tuple[str, ...]

    def is_start(self, codons: Ints) -> Flags:
        """Whether each codon number (64 for unknown) begins a gene."""
        return _member(self.starts)[codons]

    def is_stop(self, codons: Ints) -> Flags:
        """Whether each codon number (64 for unknown) ends one."""
        return _member(self.stops)[codons]


def genetic_code(table: int = 11, *, starts: Sequence[str] | None = None) -> GeneticCode:
    """The code of an NCBI translation table, with the starts among `USUAL_STARTS` or those given.

    Raises
    ------
    ConfigError
        No such table; a start codon that is none of this table.
    """
    known = _tables()
    if table not in known:
        numbers = ", ".join(map(str, sorted(known)))
        raise ConfigError(f"expected an NCBI translation table ({numbers}), found {table}")
    allowed, stops = known[table]
    if starts is None:
        chosen = tuple(codon for codon in USUAL_STARTS if codon in allowed)
    else:
        chosen = tuple(codon.upper().replace("U", "T") for codon in starts)
        foreign = [codon for codon in chosen if codon not in allowed]
        if foreign or not chosen:
            raise ConfigError(
                f"expected start codons of translation table {table} ({', '.join(allowed)}), "
                f"found {', '.join(foreign) or 'none'}"
            )
    return GeneticCode(table, chosen, stops)


@cache
def _tables() -> dict[int, tuple[tuple[str, ...], tuple[str, ...]]]:
    from Bio.Data.CodonTable import unambiguous_dna_by_id

    return {
        number: (tuple(table.start_codons), tuple(table.stop_codons)) for number, table in unambiguous_dna_by_id.items()
    }


@cache
def _member(codons: tuple[str, ...]) -> Flags:
    flags = np.zeros(65, dtype=np.bool_)
    for codon in codons:
        flags[int(codon_numbers(encode(codon))[0])] = True
    return flags


def codon_numbers(tokens: Tokens) -> Ints:
    """Number of the codon that begins at each position, int64 [max(T - 2, 0)]; 64 where a base is unknown.

    ``ATGA -> [14, 56]``: ATG = 16*0 + 4*3 + 2, TGA = 16*3 + 4*2 + 0.
    """
    wide = tokens.astype(np.int64)
    first, second, third = wide[:-2], wide[1:-1], wide[2:]
    known = np.maximum(np.maximum(first, second), third) < N_TOKEN
    return np.where(known, 16 * first + 4 * second + third, 64)


@dataclass(frozen=True)
class OpenFrames:
    """Candidates of one strand: each row is a start in an open frame.

    Attributes
    ----------
    start, end : int64 [K]
        Of the candidate, the stop codon included.
    frame : int64 [K]
        Number of its open frame: candidates that share a stop share it; rows are sorted by frame, longest first.
    stop_end : int64 [F]
        End of each frame.
    open_start, open_end : bool [K]
        The candidate runs off the sequence at that side (a partial gene).
    """

    start: Ints
    end: Ints
    frame: Ints
    stop_end: Ints
    open_start: Flags
    open_end: Flags

    def __len__(self) -> int:
        return self.start.size


def open_frames(tokens: Tokens, code: GeneticCode, *, min_length: int = 90, partial: bool = True) -> OpenFrames:
    """Every candidate of a strand with at least `min_length` bases, stop codon included.

    Example: ``ATGAAATAA`` with ``min_length=9`` has one candidate 0..9. With ``partial``, ``ATGAAA`` has 0..6 that is
    open at its end.

    Raises
    ------
    RangeError
        A minimum below two codons.
    """
    if min_length < 6:
        raise RangeError(f"expected a minimum length of at least 6 bases, found {min_length}")
    codons = codon_numbers(tokens)
    parts = [_of_frame(codons, phase, code, min_length, partial=partial) for phase in range(3)]
    start, end, stop, open_start, open_end = (np.concatenate([part[column] for part in parts]) for column in range(5))
    order = np.lexsort((start, stop))
    start, end, open_start, open_end = start[order], end[order], open_start[order], open_end[order]
    stop_end, frame = np.unique(stop[order], return_inverse=True)
    return OpenFrames(start, end, frame.astype(np.int64), stop_end, open_start, open_end)


def _of_frame(
    codons: Ints, phase: int, code: GeneticCode, min_length: int, *, partial: bool
) -> tuple[Ints, Ints, Ints, Flags, Flags]:
    """Starts, ends, ends again (they name the frame) and the open flags of the candidates in one phase."""
    own = codons[phase::3]
    size = own.size
    stops = np.flatnonzero(code.is_stop(own))
    closed = stops.size
    borders = np.concatenate([stops, [size]])  # the last frame is open at its end
    starts = np.flatnonzero(code.is_start(own))
    which = np.searchsorted(borders, starts)
    opened = np.zeros(starts.size, dtype=np.bool_)
    # The first frame may have begun before the sequence.
    if partial and size and (starts.size == 0 or starts[0] != 0) and borders[0] > 0:
        starts = np.concatenate([[0], starts])
        which = np.concatenate([[0], which])
        opened = np.concatenate([[True], opened])
    begins = phase + 3 * starts
    ends = phase + 3 * (borders[which] + (which < closed))
    keep = (ends - begins >= min_length) & ((which < closed) | partial)
    begins, ends, which, opened = begins[keep], ends[keep], which[keep], opened[keep]
    return begins, ends, ends, opened, which >= closed
