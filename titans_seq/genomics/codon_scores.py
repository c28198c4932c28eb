"""The plain gene scorer: in-frame hexamers, the letters around a start, and a ribosome binding site in front of it.

With c = 0, 1, 2 the codon position of a base, h the hexamer that begins there, and counts over annotated genes and
over everything else (both strands):

    coding[f, t]  = (log p(h_t | coding, codon position (t - f) mod 3) - log p(h_t | not coding)) / 3
    letters[t]    = sum_j log p(s_{t+j} | true start, j) - log p(s_{t+j} | other candidate, j)
    binding[t]    = log(1 - m + m sum_d p(d) prod_j q_j(s_{t-d+j}) / b(s_{t-d+j}))

Each base's hexamer shares five letters with the next, hence the 3. The binding motif q (six letters), its distances d
and the share m of genes that have one are learned by expectation and maximisation, from AGGAGG on. A network's scores
stand beside these as more tracks; a new genome's own counts may take their place.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
MOTIF: Final = 6
"""Letters of the binding motif."""
_K: Final = 6
_AGGAGG: Final = np.array([0, 2, 2, 0, 2, 2])


@dataclass(frozen=True)
class StrandScores:
    """What scorers say of one strand, in strand coordinates, by the name of the track.

    Attributes
    ----------
    coding : float32 [3, T] each
        For each base and frame f, log-odds that it is coding with codon position (t - f) mod 3, against not coding.
    start : float32 [T] each
        Log-odds that a gene begins here; read only at start codons.
    """

    coding: Mapping[str, Floats]
    start: Mapping[str, Floats]

    def beside(self, other: StrandScores) -> StrandScores:
        """The tracks of both; names must differ."""
        return StrandScores({**self.coding, **other.coding}, {**self.start, **other.start})


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
    """Tables of the plain scorer, log-odds.

    Attributes
    ----------
    hexamers, letters : float32 [3, 4^6 + 1] and [UPSTREAM + DOWNSTREAM, 5]
    motif, distance : float32 [MOTIF, 5] and [distances]
        Of the binding site; ``distance`` is log(m p(d)).
    """

    hexamers: Floats
    letters: Floats
    motif: Floats
    distance: Floats

    @classmethod
    def fit(cls, strands: Iterable[StrandGenes], *, pseudo: float = 2.0) -> CodonScores:
        """Count both strands of the training part; `pseudo` counts are added to every hexamer."""
        size = 4**_K + 1
        coding, rest = np.full((3, size), pseudo), np.full(size, pseudo)
        true, other = (np.ones((UPSTREAM + DOWNSTREAM, N_TOKEN + 1)) for _ in range(2))
        upstream: list[npt.NDArray[np.uint8]] = []
        for strand in strands:
            ids, position = hexamer_ids(strand.tokens), codon_positions(strand)
            for c in range(3):
                coding[c] += np.bincount(ids[strand.used & (position == c)], minlength=size)
            rest += np.bincount(ids[strand.used & (position < 0)], minlength=size)
            starts = strand.start[strand.used[strand.start]]
            _count_letters(true, strand.tokens, starts)
            inside = starts[starts >= UPSTREAM]
            upstream.append(strand.tokens[inside[:, None] - np.arange(UPSTREAM, 0, -1)])
            _count_letters(other, strand.tokens, strand.other_starts[strand.used[strand.other_starts]])
        hexamers = np.log(coding / coding.sum(1, keepdims=True)) - np.log(rest / rest.sum())
        hexamers[:, -1] = 0.0
        letters = np.log(true / true.sum(1, keepdims=True)) - np.log(other / other.sum(1, keepdims=True))
        letters[:, N_TOKEN] = 0.0
        motif, distance = fit_motif(np.concatenate(upstream), other[:UPSTREAM].sum(0)[:4])
        return cls((hexamers / 3).astype(np.float32), letters.astype(np.float32), motif, distance)

    def scores(self, tokens: Tokens) -> StrandScores:
        """Score one strand."""
        coding = frame_scores(self.hexamers, tokens)
        padded = np.concatenate([np.full(UPSTREAM, N_TOKEN, np.uint8), tokens, np.full(DOWNSTREAM, N_TOKEN, np.uint8)])
        letters = np.zeros(tokens.size, dtype=np.float32)
        for offset, row in enumerate(self.letters):
            letters += row[padded[offset : offset + tokens.size]]
        binding = np.full(tokens.size, np.log1p(-min(float(np.exp(self.distance).sum()), 0.99)), dtype=np.float32)
        for step, log_p in enumerate(self.distance):
            match = np.full(tokens.size, log_p, dtype=np.float32)
            for j, row in enumerate(self.motif):
                match += row[padded[step + j : step + j + tokens.size]]
            np.logaddexp(binding, match, out=binding)
        return StrandScores({"hexamer": coding}, {"letters": letters, "binding": binding})


def frame_scores(hexamers: Floats, tokens: Tokens) -> Floats:
    """``coding`` of the module's text, float32 [3, T], from a table of hexamers by codon position [3, 4^6 + 1]."""
    by_position = hexamers[:, hexamer_ids(tokens)]
    phase = np.arange(tokens.size) % 3
    return np.stack([np.choose((phase - frame) % 3, by_position) for frame in range(3)]).astype(np.float32)


def fit_motif(
    upstream: npt.NDArray[np.uint8], background: npt.NDArray[np.float64], *, steps: int = 30
) -> tuple[Floats, Floats]:
    """Learn a motif of `MOTIF` letters that most sequences hold once at a preferred place.

    Parameters
    ----------
    upstream
        The `UPSTREAM` letters in front of true starts, [G, UPSTREAM].
    background
        Counts of A, C, G, T in front of other candidates.

    Returns
    -------
    tuple
        Log-odds of the motif's letters [MOTIF, 5] and log(m p(d)) of its places, from the left.
    """
    places = UPSTREAM - MOTIF - 2
    share = (background + 1) / (background + 1).sum()
    q = np.full((MOTIF, 4), 0.1)
    q[np.arange(MOTIF), _AGGAGG] = 0.7
    p = np.full(places, 0.7 / places)
    windows = np.stack([upstream[:, at : at + MOTIF] for at in range(places)], 1).astype(np.int64)  # (G, places, MOTIF)
    known = windows < N_TOKEN
    safe = np.minimum(windows, 3)
    for _ in range(steps if len(upstream) else 0):
        odds = np.where(known, np.log(q)[np.arange(MOTIF), safe] - np.log(share)[safe], 0.0).sum(-1)
        joint = p * np.exp(odds)
        weight = joint / (joint.sum(1, keepdims=True) + 1 - p.sum())
        p = np.minimum((weight.sum(0) + 0.1) / (len(upstream) + 1), 0.9)
        for j in range(MOTIF):
            found = np.bincount(safe[:, :, j].ravel(), weights=(weight * known[:, :, j]).ravel(), minlength=4)
            q[j] = (found + 4 * share) / (found.sum() + 4)
    motif = np.zeros((MOTIF, N_TOKEN + 1), dtype=np.float32)
    motif[:, :4] = np.log(q) - np.log(share)
    return motif, np.log(p).astype(np.float32)


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
