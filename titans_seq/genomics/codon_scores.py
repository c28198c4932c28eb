"""The plain gene scorer: in-frame hexamers and the letters around a start. A floor for a network, and a baseline.

With c = 0, 1, 2 the codon position of a base, h the hexamer that begins there, and counts over annotated genes and
over everything else (both strands):

    coding[f, t] = log p(h_t | coding, codon position (t - f) mod 3) - log p(h_t | not coding)       per base / 3
    start[t]     = sum_j log p(s_{t+j} | true start, j) - log p(s_{t+j} | other candidate, j)

Each base's hexamer shares five letters with the next, so a sum over bases counts evidence about three times over a
sum over codons; the division by 3 keeps the scale of one count per codon step.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from titans_seq.genomics.alphabet import N_TOKEN, Tokens

Floats = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

UPSTREAM: Final = 25
"""Bases before a start that its score looks at."""
DOWNSTREAM: Final = 12
"""Bases from a start on that its score looks at."""
_K: Final = 6


@dataclass(frozen=True)
class StrandScores:
    """What a scorer says of one strand, in strand coordinates.

    Attributes
    ----------
    coding : float32 [3, T]
        For each base and frame f, log-odds that it is coding with codon position (t - f) mod 3, against not coding.
    start : float32 [T]
        Log-odds that a gene begins here; read only at start codons.
    """

    coding: Floats
    start: Floats


@dataclass(frozen=True)
class StrandGenes:
    """Annotated genes of one strand of a sequence, in strand coordinates.

    Attributes
    ----------
    tokens : uint8 [T]
    start, end : int64 [G]
        Whole genes, stop codon included, their length a multiple of three.
    other_starts : int64 [S]
        Candidate starts that are not annotated.
    used : bool [T]
        Which bases may be learned from.
    """

    tokens: Tokens
    start: Ints
    end: Ints
    other_starts: Ints
    used: Flags


@dataclass(frozen=True)
class CodonScores:
    """Tables of the plain scorer: ``hexamers`` [3, 4^6 + 1] and ``letters`` [UPSTREAM + DOWNSTREAM, 5], log-odds."""

    hexamers: Floats
    letters: Floats

    @classmethod
    def fit(cls, strands: Iterable[StrandGenes], *, pseudo: float = 2.0) -> CodonScores:
        """Count both strands of the training part; `pseudo` counts are added to every hexamer."""
        size = 4**_K + 1
        coding, rest = np.full((3, size), pseudo), np.full(size, pseudo)
        true, other = (np.ones((UPSTREAM + DOWNSTREAM, N_TOKEN + 1)) for _ in range(2))
        for strand in strands:
            ids, position = hexamer_ids(strand.tokens), codon_positions(strand)
            for c in range(3):
                coding[c] += np.bincount(ids[strand.used & (position == c)], minlength=size)
            rest += np.bincount(ids[strand.used & (position < 0)], minlength=size)
            _count_letters(true, strand.tokens, strand.start[strand.used[strand.start]])
            _count_letters(other, strand.tokens, strand.other_starts[strand.used[strand.other_starts]])
        hexamers = np.log(coding / coding.sum(1, keepdims=True)) - np.log(rest / rest.sum())
        hexamers[:, -1] = 0.0
        letters = np.log(true / true.sum(1, keepdims=True)) - np.log(other / other.sum(1, keepdims=True))
        letters[:, N_TOKEN] = 0.0
        return cls((hexamers / 3).astype(np.float32), letters.astype(np.float32))

    def scores(self, tokens: Tokens) -> StrandScores:
        """Score one strand."""
        ids = hexamer_ids(tokens)
        by_position = self.hexamers[:, ids]
        phase = np.arange(tokens.size) % 3
        coding = np.stack([np.choose((phase - frame) % 3, by_position) for frame in range(3)])
        padded = np.concatenate([np.full(UPSTREAM, N_TOKEN, np.uint8), tokens, np.full(DOWNSTREAM, N_TOKEN, np.uint8)])
        start = np.zeros(tokens.size, dtype=np.float32)
        for offset, row in enumerate(self.letters):
            start += row[padded[offset : offset + tokens.size]]
        return StrandScores(coding.astype(np.float32), start)


def hexamer_ids(tokens: Tokens) -> Ints:
    """Number of the hexamer that begins at each position, int64 [T]; 4^6 where it is cut off or holds N."""
    padded = np.concatenate([tokens, np.full(_K - 1, N_TOKEN, dtype=np.uint8)]).astype(np.int64)
    ids = np.zeros(tokens.size, dtype=np.int64)
    known = np.ones(tokens.size, dtype=np.bool_)
    for offset in range(_K):
        letter = padded[offset : offset + tokens.size]
        ids = 4 * ids + np.minimum(letter, 3)
        known &= letter < N_TOKEN
    return np.where(known, ids, 4**_K)


def codon_positions(strand: StrandGenes) -> npt.NDArray[np.int8]:
    """Codon position 0, 1, 2 of each base of a gene, -1 elsewhere; where genes overlap the later one counts."""
    position = np.full(strand.tokens.size, -1, dtype=np.int8)
    for start, end in zip(strand.start.tolist(), strand.end.tolist(), strict=True):
        position[start:end] = np.arange(end - start) % 3
    return position


def _count_letters(counts: npt.NDArray[np.float64], tokens: Tokens, sites: Ints) -> None:
    inside = sites[(sites >= UPSTREAM) & (sites + DOWNSTREAM <= tokens.size)]
    for offset in range(UPSTREAM + DOWNSTREAM):
        counts[offset] += np.bincount(tokens[inside - UPSTREAM + offset], minlength=N_TOKEN + 1)
