"""What introns are made of and how long they are, counted on annotated genes.

    inside[t] = (log p(hexamer at t | intron) - log p(hexamer at t | no gene)) / 6
    length[n] = log p(n) - log(1 / TYPICAL)

p(n) is a histogram below `NEAR` bases, each intron spread over a twentieth of its length, and falls geometrically from
there on: worms have most introns at 47 bases and some at thousands. One strand is counted at a time; an intron that
isoforms share counts once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from titans_seq.genomics.alphabet import Tokens
from titans_seq.genomics.codon_scores import hexamer_ids
from titans_seq.genomics.splice_sites import SplicedParts

Floats = npt.NDArray[np.float64]

NEAR: Final = 160
"""Bases from which on a length has the geometric tail."""
TYPICAL: Final = 1000
"""Bases over which a length would be spread evenly if nothing were known of it."""
SHORTEST: Final = 30
"""Bases that an intron has at least."""
_SIZE: Final = 4**6 + 1
_PSEUDO: Final = 4.0
_UNSEEN: Final = 0.02
"""Share of the introns that are given to lengths that were not seen."""


@dataclass(frozen=True)
class Introns:
    """Tables of introns, log-odds.

    Attributes
    ----------
    hexamers : float32 [4^6 + 1]
        ``inside`` of the module's text.
    near : float64 [N + 1]
        ``length`` up to N; its last value is where the tail begins.
    slope
        What a base more costs in the tail, negative.
    """

    hexamers: npt.NDArray[np.float32]
    near: Floats
    slope: float

    @classmethod
    def unknown(cls) -> Introns:
        """Tables that say nothing: for models from before there were any."""
        return cls(np.zeros(_SIZE, dtype=np.float32), np.zeros(SHORTEST + 1), 0.0)

    @classmethod
    def fit(cls, strands: Iterable[tuple[Tokens, Sequence[SplicedParts]]]) -> Introns:
        """Count on strands with their annotated genes."""
        inside, outside = np.full(_SIZE, _PSEUDO), np.full(_SIZE, _PSEUDO)
        lengths: list[int] = []
        for tokens, genes in strands:
            kind = np.zeros(tokens.size, dtype=np.int8)  # 1 in an intron, 2 in a coding part
            gaps = {(left[1], right[0]) for gene in genes for left, right in pairwise(gene.parts) if right[0] > left[1]}
            for start, end in gaps:
                kind[start:end] = 1
            for start, end in (part for gene in genes for part in gene.parts):
                kind[start:end] = 2
            lengths += [end - start for start, end in gaps]
            ids = hexamer_ids(tokens)
            inside += np.bincount(ids[kind == 1], minlength=_SIZE)
            outside += np.bincount(ids[kind == 0], minlength=_SIZE)
        hexamers = (np.log(inside / inside.sum()) - np.log(outside / outside.sum())) / 6
        hexamers[-1] = 0.0
        near, slope = _length_odds(np.array(lengths, dtype=np.float64))
        return cls(hexamers.astype(np.float32), near, slope)

    def inside(self, tokens: Tokens) -> Floats:
        """``inside`` of the module's text for every base, [T]."""
        return self.hexamers[hexamer_ids(tokens)].astype(np.float64)


def _length_odds(lengths: Floats) -> tuple[Floats, float]:
    """``near`` and ``slope`` of `Introns`; lengths that say nothing where there are too few."""
    if lengths.size < 2:
        return np.zeros(SHORTEST + 1), 0.0
    far = lengths[lengths >= NEAR]
    mean = max(float(far.mean()) - NEAR, 50.0) if far.size else 50.0
    places = np.arange(NEAR)
    density = np.full(NEAR, _UNSEEN * lengths.size / NEAR)
    for length in lengths[lengths < NEAR].tolist():
        width = max(1.0, length / 20)
        density += np.exp(-0.5 * ((places - length) / width) ** 2) / (width * np.sqrt(2 * np.pi))
    tail = max(far.size, 1) / mean
    p = np.append(density, tail) / (lengths.size * (1 + _UNSEEN))
    return np.log(p * TYPICAL), -1.0 / mean
