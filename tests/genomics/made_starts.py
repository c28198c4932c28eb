"""A made genome in which only a motif in front tells a gene's start from others of its frame."""

from __future__ import annotations

import numpy as np

from titans_seq.genomics import decode, encode, reverse_complement

CODONS = ["GCG", "CTG", "GAA", "AAA", "GAT", "GGC", "ACC", "CAG"]
BASES = list("ACGT")
Gene = tuple[int, int, int]


def made_genome(genes: int, *, motif: str, spacer: int, seed: int, decoy: str = "") -> tuple[np.ndarray, list[Gene]]:
    """Genes on both strands; in front of each body stand three ATG in frame, and `motif` before one of them, the start.

    Codons between them are those of the body, so that codon usage is no guide. A `decoy` as long as the motif stands
    before two in five of the other ATG, where the motif would.
    """
    random = np.random.default_rng(seed)
    pieces: list[str] = []
    places: list[Gene] = []
    at = 0
    for number in range(genes):
        unit, true, begin = "TAA", int(random.integers(3)), 0
        for start in range(3):
            filling = "".join(random.choice(list("CT"), spacer + 6 + -(spacer + 6) % 3))
            site = motif if start == true else decoy if random.random() < 0.4 else ""
            if site:
                filling = filling[: -spacer - len(site)] + site + filling[-spacer:]
            if start == true:
                begin = len(unit) + len(filling)
            unit += filling + "ATG" + "".join(random.choice(CODONS, int(random.integers(10, 30))))
        unit += "".join(random.choice(CODONS, int(random.integers(60, 160)))) + "TAA"
        gap = "".join(random.choice(BASES, int(random.integers(80, 160))))
        reverse = number % 2 == 1
        start = at + len(gap) + (0 if reverse else begin)
        places.append((start, start + len(unit) - begin, -1 if reverse else 1))
        pieces += [gap, decode(reverse_complement(encode(unit))) if reverse else unit]
        at += len(gap) + len(unit)
    return encode("".join(pieces)), places
