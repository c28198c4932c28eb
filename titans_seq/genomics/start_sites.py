"""Which start of an open frame a ribosome takes: log-odds of what stands at it, counted on genes that are known.

For each candidate k of a frame that holds a gene, six things fall into classes c:

    motif      the longest piece (3 to 6 letters) of AAGGAGGTGA in front of k, and its distance: 1 + 4 * 6 classes
    codon      the first letter: ATG, GTG or TTG
    around     each of the four letters in front of k and of the nine behind its codon, place by place
    upstream   each letter from `FAR` to `NEAR` bases in front of k
    room       bases between the frame's first candidate and k
    near       distance to the gene in front (see `titans_seq.genomics.gene_neighbours`)

    site[c]  = log p(c | the start) - log p(c | another candidate of the same frame),    summed over letters

Tables of a dozen counts need few genes, so a new genome's own calls may replace them: its binding motif, its share of
TTG, the spacing of its operons. Six weights (`gene_weights`) say how far each is trusted, and stay as they are.
The motif is what the end of the 16S rRNA pairs with (Shine and Dalgarno 1974); classes of motif and distance that are
counted anew in each genome are the idea of Prodigal (Hyatt et al., BMC Bioinformatics 11:119, 2010).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from titans_seq.genomics.alphabet import N_TOKEN, Tokens, encode
from titans_seq.genomics.codon_scores import StrandGenes
from titans_seq.genomics.gene_neighbours import NEIGHBOURS, PlacedGenes, neighbour_bins
from titans_seq.genomics.open_frames import GeneticCode, OpenFrames, open_frames

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Vector = npt.NDArray[np.float64]

COLUMNS: Final = ("site/motif", "site/codon", "site/around", "site/upstream", "site/room")
"""Of :meth:`StartSites.columns`; ``near`` needs the genes in front and stands apart."""
FAR, NEAR = 45, 15
_AROUND: Final = np.array([-4, -3, -2, -1, *range(3, 12)])
_LETTERS: Final = N_TOKEN + 1
_PAIRS: Final = encode("AAGGAGGTGA")
_LONGEST: Final = 6
_SPACERS: Final = (7, 6, 8, 5, 9, 10, 4, 3, 11, 12, 13, 14, 15)
"""Bases between the motif and the start, the usual ones first."""
_SPACER_BINS: Final = (5, 6, 8, 10, 12)
_ROOM: Final = (1, 13, 31, 61, 121, 241)
_SIZES: Final = {
    "motif": 25,
    "codon": _LETTERS,
    "around": _AROUND.size * _LETTERS,
    "upstream": _LETTERS,
    "room": len(_ROOM) + 1,
    "near": NEIGHBOURS,
}


@dataclass(frozen=True)
class StartSites:
    """The tables, log-odds.

    Attributes
    ----------
    motif, codon, around, upstream, room, near : float32 [25], [5], [13 * 5], [5], [7], [NEIGHBOURS]
        By class; the fifth letter is N and says nothing.
    """

    motif: Floats
    codon: Floats
    around: Floats
    upstream: Floats
    room: Floats
    near: Floats

    def __post_init__(self) -> None:
        for name, size in _SIZES.items():
            if getattr(self, name).shape != (size,):
                raise ValueError(f"the table {name!r} of start sites belongs to another version of titans-seq")

    @classmethod
    def fit(
        cls,
        contigs: Iterable[tuple[StrandGenes, StrandGenes]],
        code: GeneticCode,
        *,
        min_length: int = 90,
        pseudo: float = 1.0,
    ) -> StartSites:
        """Count both strands of sequences whose genes are known; `pseudo` counts are added to every class."""
        counts = {name: np.full((2, size), pseudo) for name, size in _SIZES.items()}
        for pair in contigs:
            found = [open_frames(strand.tokens, code, min_length=min_length, partial=False) for strand in pair]
            frames = found[0], found[1]
            near = neighbour_bins(
                frames, (_placed(pair[0], frames[0]), _placed(pair[1], frames[1])), pair[0].tokens.size
            )
            for strand, own, bins in zip(pair, frames, near, strict=True):
                chosen = _chosen(strand, own)
                known = (np.bincount(own.frame[chosen], minlength=own.stop_end.size) == 1)[own.frame]
                known &= strand.used[own.start]
                for name, values in {**_classes(strand.tokens, own), "near": bins}.items():
                    for row, of_these in enumerate((known & chosen, known & ~chosen)):
                        counts[name][row] += np.bincount(values[of_these].ravel(), minlength=_SIZES[name])
        tables = {}
        for name, (true, other) in counts.items():
            odds = np.log(true / true.sum()) - np.log(other / other.sum())
            if name in ("codon", "around", "upstream"):
                odds[N_TOKEN::_LETTERS] = 0.0
            tables[name] = odds.astype(np.float32)
        return cls(**tables)

    def columns(self, tokens: Tokens, frames: OpenFrames) -> dict[str, Vector]:
        """`COLUMNS` of the candidates of a strand, float64 [K] each; 0 where the gene begins off the sequence."""
        found = {}
        for name, classes in _classes(tokens, frames).items():
            odds = getattr(self, name)[classes].astype(np.float64)
            found[f"site/{name}"] = np.where(frames.open_start, 0.0, odds if odds.ndim == 1 else odds.sum(1))
        return found


def motif_classes(tokens: Tokens, start: Ints) -> Ints:
    """Class of the longest piece of AAGGAGGTGA 3 to 15 bases in front of each start, int64 [K]; 0 for none of 3.

    Of pieces of one length, the one at the more usual distance counts. ``AGGAGG`` seven bases in front of a start is
    class 1 + 3 * 6 + 2: the fourth length (6), the third bin of distances (6 and 7).
    """
    reach = max(_SPACERS) + len(_PAIRS)
    padded = np.concatenate([np.full(reach, N_TOKEN, dtype=np.uint8), tokens])
    window = padded[start[:, None] + np.arange(reach)]  # the last column stands right in front of the start
    usual = {spacer: number for number, spacer in enumerate(reversed(_SPACERS))}
    best = np.zeros(start.size, dtype=np.int64)  # length, then how usual the distance is
    for diagonal in range(1 - len(_PAIRS), reach):
        run = np.zeros(start.size, dtype=np.int64)
        for at, letter in enumerate(_PAIRS.tolist(), start=diagonal):
            if not 0 <= at < reach:
                continue
            run = np.where(window[:, at] == letter, run + 1, 0)
            rank = usual.get(reach - 1 - at)
            if rank is not None:
                length = np.minimum(run, _LONGEST)
                best = np.maximum(best, np.where(length >= 3, length * len(_SPACERS) + rank, 0))
    length, rank_of = np.divmod(best, len(_SPACERS))
    bins = np.searchsorted(_SPACER_BINS, np.array(list(usual)), side="right")[rank_of]
    return np.where(best > 0, 1 + (length - 3) * (len(_SPACER_BINS) + 1) + bins, 0).astype(np.int64)


def _classes(tokens: Tokens, frames: OpenFrames) -> dict[str, Ints]:
    """Classes of every candidate, int64 [K], and those of the letters around it, [K, letters]."""
    padded = np.concatenate([np.full(FAR, N_TOKEN, dtype=np.uint8), tokens]).astype(np.int64)
    starts = frames.start[:, None]
    first = np.flatnonzero(np.r_[True, frames.frame[1:] != frames.frame[:-1]]) if len(frames) else frames.frame
    return {
        "motif": motif_classes(tokens, frames.start),
        "codon": tokens[frames.start].astype(np.int64),
        "around": padded[starts + FAR + _AROUND] + _LETTERS * np.arange(_AROUND.size),
        "upstream": padded[starts + np.arange(FAR - NEAR)],
        "room": np.searchsorted(_ROOM, frames.start - frames.start[first][frames.frame], side="right").astype(np.int64),
    }


def _chosen(strand: StrandGenes, frames: OpenFrames) -> npt.NDArray[np.bool_]:
    """Which candidates are genes, bool [K]."""
    genes = strand.start * (strand.tokens.size + 1) + strand.end
    return np.isin(frames.start * (strand.tokens.size + 1) + frames.end, genes)


def _placed(strand: StrandGenes, frames: OpenFrames) -> PlacedGenes:
    """The genes of a strand with the number of their frames, -1 for those that are no candidates."""
    order = np.argsort(strand.start, kind="stable")
    start, end = strand.start[order], strand.end[order]
    place = np.searchsorted(frames.stop_end, end)
    frame = np.where(np.append(frames.stop_end, -1)[place] == end, place, -1)
    return PlacedGenes(start, end, frame.astype(np.int64))
