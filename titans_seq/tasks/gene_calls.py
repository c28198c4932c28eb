"""From the logits of a labelling model to genes without introns, through their decoder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from titans_seq.genomics.codon_scores import CodonScores, StrandGenes, StrandScores
from titans_seq.genomics.gene_decoder import Gene, Strand, both_strands, decode_genes, gap_free
from titans_seq.genomics.gene_fitting import Known
from titans_seq.genomics.gene_weights import GeneWeights
from titans_seq.genomics.labels import LabelScheme
from titans_seq.genomics.open_frames import GeneticCode, open_frames
from titans_seq.genomics.start_sites import StartSites
from titans_seq.tasks.label_scan import BlockScores

_LEAST = 1e-6
NETWORK = "network"
"""Name of the network's tracks among those of the decoder."""


@dataclass
class ContigScores:
    """Scores of one contig, both strands in forward coordinates.

    Attributes
    ----------
    states
        Log-probabilities of each strand's states, float16 [2, T, K]; NaN where nothing was read.
    sites
        Log-odds that a gene begins, float16 [2, T].
    """

    states: NDArray[np.float16]
    sites: NDArray[np.float16]

    @classmethod
    def gather(cls, blocks: Iterable[BlockScores], *, length: int, n_states: int) -> ContigScores:
        """Put the blocks of a contig side by side."""
        found = cls(
            np.full((2, length, n_states), np.nan, dtype=np.float16), np.full((2, length), -np.inf, dtype=np.float16)
        )
        for block in blocks:
            stop = block.start + block.sites.shape[1]
            found.states[:, block.start : stop] = block.states
            found.sites[:, block.start : stop] = block.sites
        return found

    def part(self, start: int, end: int) -> ContigScores:
        """The scores of some of the bases."""
        return ContigScores(self.states[:, start:end], self.sites[:, start:end])

    def probability(self, states: range) -> NDArray[np.float32]:
        """Probability of any of some states, [2, T]."""
        return np.exp(self.states[:, :, states.start : states.stop].astype(np.float32)).sum(-1)


@dataclass(frozen=True)
class GeneCaller:
    """Everything that turns scores into genes.

    Attributes
    ----------
    scheme, code
        What the states are; start and stop codons.
    weights
        Of the decoder; None while they are still to be learned.
    codons
        The plain scorer, whose tracks stand beside those of the network.
    sites
        Counts of what stands at starts; None in models from before there were any.
    min_length, max_overlap
        In bases.
    shift
        Added to every frame's log-odds, where another genome holds another share of genes.
    """

    scheme: LabelScheme
    code: GeneticCode
    codons: CodonScores
    weights: GeneWeights | None = None
    min_length: int = 90
    max_overlap: int = 60
    shift: float = 0.0
    sites: StartSites | None = None

    def genes(self, tokens: NDArray[np.uint8], scores: ContigScores | None) -> list[Gene]:
        """The genes of a contig, in order; without `scores` by the plain scorer alone."""
        if self.weights is None:
            raise ValueError("the decoder's weights are not learned yet")
        found: list[Gene] = []
        for start, _, strands in self.pieces(tokens, scores):
            genes = decode_genes(strands, self.weights, max_overlap=self.max_overlap, shift=self.shift)
            found += [gene._replace(start=gene.start + start, end=gene.end + start) for gene in genes]
        return found

    def pieces(
        self, tokens: NDArray[np.uint8], scores: ContigScores | None
    ) -> Iterator[tuple[int, int, tuple[Strand, Strand]]]:
        """Start, end and candidates of every gap-free part of a contig."""
        for start, end in gap_free(tokens):
            yield start, end, self.strands(tokens[start:end], None if scores is None else scores.part(start, end))

    def strands(self, tokens: NDArray[np.uint8], scores: ContigScores | None) -> tuple[Strand, Strand]:
        """Candidates of both strands of a gap-free sequence, with their columns."""
        found = []
        for number, letters in enumerate(both_strands(tokens)):
            tracks = self.codons.scores(letters)
            if scores is not None:
                tracks = self._network(scores, number).beside(tracks)
            found.append(Strand.read(letters, tracks, self.code, min_length=self.min_length, sites=self.sites))
        return found[0], found[1]

    def known(
        self, tokens: NDArray[np.uint8], scores: ContigScores | None, annotated: Iterable[tuple[int, int, int]]
    ) -> list[Known]:
        """What the decoder's weights are learned from: the candidates of a sequence and which of them are annotated.

        `annotated` are start, end and strand of whole genes in its coordinates; those that leave it are passed over.
        Frames whose stop is annotated but whose start is none of the candidates are left out.
        """
        found, genes = [], list(annotated)
        for start, end, strands in self.pieces(tokens, scores):
            marks = [
                marked(strand, genes_of_strand(genes, number, start, end)) for number, strand in enumerate(strands)
            ]
            found.append(Known(strands, (marks[0][0], marks[1][0]), (marks[0][1], marks[1][1])))
        return found

    def _network(self, scores: ContigScores, number: int) -> StrandScores:
        first = self.scheme.first_state(self.scheme.framed or "")
        own, begins = scores.states[number], scores.sites[number]
        if number:
            own, begins = own[::-1], begins[::-1]
        coding = frame_log_odds(own[:, first : first + 3].astype(np.float32))
        start = np.nan_to_num(begins.astype(np.float32), neginf=-20.0)
        return StrandScores({NETWORK: coding}, {NETWORK: start})


def strand_genes(
    tokens: NDArray[np.uint8],
    genes: Iterable[tuple[int, int, int]],
    code: GeneticCode,
    *,
    min_length: int,
    used: NDArray[np.bool_] | None = None,
) -> list[tuple[StrandGenes, StrandGenes]]:
    """What is counted in a sequence: the genes and the other candidate starts of both strands of its gap-free parts.

    `used` says which bases of each strand count, [2, T] in forward coordinates; None counts all.
    """
    found, listed = [], list(genes)
    for start, end in gap_free(tokens):
        pair = []
        for number, letters in enumerate(both_strands(tokens[start:end])):
            own = np.array(sorted(genes_of_strand(listed, number, start, end)), dtype=np.int64).reshape(-1, 2)
            candidates = np.unique(open_frames(letters, code, min_length=min_length).start)
            others = candidates[~np.isin(candidates, own[:, 0])]
            counts = np.ones(end - start, dtype=np.bool_) if used is None else used[number, start:end]
            pair.append(StrandGenes(letters, own[:, 0], own[:, 1], others, counts[::-1] if number else counts))
        found.append((pair[0], pair[1]))
    return found


def count_tables(
    contigs: Sequence[tuple[StrandGenes, StrandGenes]], code: GeneticCode, *, min_length: int
) -> tuple[CodonScores, StartSites]:
    """The tables of the plain scorer and those of start sites, counted on known genes."""
    return CodonScores.fit(chain.from_iterable(contigs)), StartSites.fit(contigs, code, min_length=min_length)


def genes_of_strand(genes: Iterable[tuple[int, int, int]], number: int, start: int, end: int) -> list[tuple[int, int]]:
    """Genes of strand 0 (+1) or 1 (-1) that lie whole in ``start .. end``, in coordinates of that strand."""
    own = [(a, b) for a, b, s in genes if s == (-1 if number else 1) and a >= start and b <= end]
    return [(end - b, end - a) if number else (a - start, b - start) for a, b in own]


def frame_log_odds(log_p: NDArray[np.float32]) -> NDArray[np.float32]:
    """Log-odds of being coding in each frame, float32 [3, T], from log-probabilities of codon positions [T, 3].

    Position t is at codon position (t - f) mod 3 of a gene in frame f.
    """
    p = np.clip(np.exp(log_p), _LEAST, 1 - _LEAST)
    odds = np.nan_to_num(np.log(p) - np.log1p(-p), nan=0.0)
    phase = np.arange(len(odds)) % 3
    rows = np.arange(len(odds))
    return np.stack([odds[rows, (phase - frame) % 3] for frame in range(3)])


def marked(strand: Strand, own: list[tuple[int, int]]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which candidates are annotated genes ``own`` (start, end), and which frames may be learned from."""
    frames = strand.frames
    wanted = set(own)
    picked = np.fromiter(
        (pair in wanted for pair in zip(frames.start.tolist(), frames.end.tolist(), strict=True)), np.bool_, len(frames)
    )
    hit = np.zeros(frames.stop_end.size, dtype=np.bool_)
    hit[frames.frame[picked]] = True
    stops = np.isin(frames.stop_end, np.array([end for _, end in own], dtype=np.int64))
    return picked, ~(stops & ~hit)
