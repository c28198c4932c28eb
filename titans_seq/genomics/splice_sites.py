"""What the letters around a start codon, a donor and an acceptor say, counted on annotated genes with introns.

    site[t] = log p(site | its triplet or pair at t) + sum_j [log p(s_{t+j} | site, j) - log p(s_{t+j} | no site, j)]

over places j around t, with counts plus one, of sites that are annotated against all other places of the same letters
(ATG; GT for donors; AG for acceptors). All places are on the strand that is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from titans_seq.genomics.alphabet import N_TOKEN, Tokens, encode

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SITES: Final = ("start", "donor", "acceptor")
REACH: Final = {"start": (12, 6), "donor": (4, 7), "acceptor": (22, 4)}
"""Letters looked at in front of a site and from it on: from a start codon's A, a donor's G, the base behind an AG."""


@dataclass(frozen=True)
class SplicedParts:
    """The coding parts of one gene on a strand, in reading order: start and end of each, in strand coordinates."""

    parts: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class SpliceSites:
    """Log-odds of letters by site: [W, 5], the last column for unknown letters, and the log-odds of any such place."""

    letters: dict[str, Floats]
    prior: dict[str, float]

    @classmethod
    def fit(cls, strands: Iterable[tuple[Tokens, Sequence[SplicedParts]]], *, starts: Sequence[str]) -> SpliceSites:
        """Count on strands with their annotated genes; `starts` are the start codons."""
        counts = {name: np.ones((2, sum(REACH[name]), N_TOKEN)) for name in SITES}
        seen = {name: np.ones(2) for name in SITES}
        for tokens, genes in strands:
            true = _annotated(genes)
            for name in SITES:
                places = candidates(tokens, name, starts=starts)
                hit = np.isin(places, true[name])
                around = _around(tokens, places, name)
                for number, chosen in enumerate((~hit, hit)):
                    seen[name][number] += int(chosen.sum())
                    for letter in range(N_TOKEN):
                        counts[name][number, :, letter] += (around[chosen] == letter).sum(0)
        letters = {}
        for name in SITES:
            share = counts[name] / counts[name].sum(-1, keepdims=True)
            odds = np.log(share[1]) - np.log(share[0])
            letters[name] = np.concatenate([odds, np.zeros((len(odds), 1))], 1)
        return cls(letters, {name: float(np.log(seen[name][1] / seen[name][0])) for name in SITES})

    def scores(self, tokens: Tokens, name: str, places: Ints) -> Floats:
        """Log-odds of a site at some places."""
        around = _around(tokens, places, name)
        found: Floats = self.letters[name][np.arange(around.shape[1]), around].sum(1) + self.prior[name]
        return found

    def to_json(self) -> dict[str, Any]:
        """As lists."""
        letters = {name: np.round(values, 5).tolist() for name, values in self.letters.items()}
        return {"letters": letters, "prior": self.prior}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> SpliceSites:
        """Undo `to_json`."""
        return cls({name: np.array(record["letters"][name]) for name in SITES}, dict(record["prior"]))


def candidates(tokens: Tokens, name: str, *, starts: Sequence[str] = ("ATG",)) -> Ints:
    """Where a site may be: the first base of a start codon, of a GT, the base behind an AG."""
    if name == "start":
        found = [_places(tokens, encode(codon)) for codon in starts]
        return np.unique(np.concatenate(found))
    return _places(tokens, encode("GT")) if name == "donor" else _places(tokens, encode("AG")) + 2


def _places(tokens: Tokens, letters: Tokens) -> Ints:
    size = max(tokens.size - letters.size + 1, 0)
    hit = np.ones(size, dtype=np.bool_)
    for step, letter in enumerate(letters.tolist()):
        hit &= tokens[step : step + size] == letter
    return np.flatnonzero(hit)


def _around(tokens: Tokens, places: Ints, name: str) -> npt.NDArray[np.uint8]:
    before, behind = REACH[name]
    edge = np.full(max(REACH[name]), N_TOKEN, dtype=np.uint8)
    padded = np.concatenate([edge, tokens, edge])
    around: npt.NDArray[np.uint8] = padded[places[:, None] + edge.size + np.arange(-before, behind)]
    return around


def _annotated(genes: Sequence[SplicedParts]) -> dict[str, Ints]:
    places: dict[str, list[int]] = {name: [] for name in SITES}
    for gene in genes:
        places["start"].append(gene.parts[0][0])
        places["donor"] += [end for _, end in gene.parts[:-1]]
        places["acceptor"] += [start for start, _ in gene.parts[1:]]
    return {name: np.array(found, dtype=np.int64) for name, found in places.items()}
