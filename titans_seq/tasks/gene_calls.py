"""From the logits of a labelling model to features: genes through the decoder, everything else as runs of bases."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from titans_seq.genomics import Genome, Stretch, reverse_complement
from titans_seq.genomics.codon_scores import StrandScores
from titans_seq.genomics.gene_decoder import Gene, Known, Strand, decode_genes, gap_free
from titans_seq.genomics.gene_weights import GeneWeights
from titans_seq.genomics.labels import LabelScheme
from titans_seq.genomics.open_frames import GeneticCode
from titans_seq.genomics.runs import best_runs
from titans_seq.tasks.label_scan import BlockScores

RUN_PENALTY = 20.0
"""Log-odds that a run of a class must be worth: a few bases that are nearly sure, or many that are likely."""
_LEAST = 1e-6


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
        Of the decoder.
    min_length, max_overlap
        In bases.
    """

    scheme: LabelScheme
    code: GeneticCode
    weights: GeneWeights
    min_length: int = 90
    max_overlap: int = 60

    def genes(self, tokens: NDArray[np.uint8], scores: ContigScores) -> list[Gene]:
        """The genes of a contig, in order."""
        found: list[Gene] = []
        for start, end in gap_free(tokens):
            strands = read_strands(
                tokens[start:end], scores.states[:, start:end], scores.sites[:, start:end], self.scheme, self.code,
                min_length=self.min_length,
            )  # fmt: skip
            genes = decode_genes(strands, self.weights, max_overlap=self.max_overlap)
            found += [gene._replace(start=gene.start + start, end=gene.end + start) for gene in genes]
        return found

    def with_weights(self, weights: GeneWeights) -> GeneCaller:
        """The same with other weights."""
        return replace(self, weights=weights)


def read_strands(
    tokens: NDArray[np.uint8],
    states: NDArray[np.float16],
    sites: NDArray[np.float16],
    scheme: LabelScheme,
    code: GeneticCode,
    *,
    min_length: int,
) -> tuple[Strand, Strand]:
    """Candidates of both strands of a gap-free sequence, with their columns."""
    first = scheme.first_state(scheme.framed or "")
    found = []
    for number, letters in enumerate((tokens, reverse_complement(tokens))):
        own, begins = states[number], sites[number]
        if number:
            own, begins = own[::-1], begins[::-1]
        coding = frame_log_odds(own[:, first : first + 3].astype(np.float32))
        start = np.nan_to_num(begins.astype(np.float32), neginf=-20.0)
        found.append(Strand.read(letters, StrandScores(coding, start), code, min_length=min_length))
    return found[0], found[1]


def frame_log_odds(log_p: NDArray[np.float32]) -> NDArray[np.float32]:
    """Log-odds of being coding in each frame, float32 [3, T], from log-probabilities of codon positions [T, 3].

    Position t is at codon position (t - f) mod 3 of a gene in frame f.
    """
    p = np.clip(np.exp(log_p), _LEAST, 1 - _LEAST)
    odds = np.nan_to_num(np.log(p) - np.log1p(-p), nan=0.0)
    phase = np.arange(len(odds)) % 3
    rows = np.arange(len(odds))
    return np.stack([odds[rows, (phase - frame) % 3] for frame in range(3)])


def runs_of_class(scores: ContigScores, scheme: LabelScheme, kind: str, *, min_length: int = 20) -> list[Gene]:
    """Stretches of a class on both strands; the score is the mean probability as log-odds."""
    first = scheme.first_state(kind)
    p = scores.probability(range(first, first + (3 if kind in scheme.frames else 1)))
    p = np.clip(np.nan_to_num(p, nan=0.0), _LEAST, 1 - _LEAST)
    found = []
    for number, strand in enumerate((1, -1)):
        odds = np.log(p[number]) - np.log1p(-p[number])
        for start, end, mean in best_runs(odds, penalty=RUN_PENALTY, min_length=min_length):
            found.append(Gene(start, end, strand, mean, 1.0, False, False))
    return sorted(found)


def known_genes(
    genome: Genome,
    stretch: Stretch,
    scores: ContigScores,
    annotated: Iterable[tuple[int, int, int]],
    caller: GeneCaller,
) -> list[Known]:
    """What the decoder's weights are learned from: candidates of a stretch and which of them are annotated.

    Parameters
    ----------
    scores
        Of the stretch alone.
    annotated
        Start, end and strand of whole genes, forward coordinates of the contig; those outside are passed over.

    Frames whose stop is annotated but whose start is none of the candidates are left out.
    """
    tokens = genome.tokens(stretch.contig, stretch.start, stretch.end)
    genes = [(start - stretch.start, end - stretch.start, strand) for start, end, strand in annotated]
    found = []
    for start, end in gap_free(tokens):
        strands = read_strands(
            tokens[start:end], scores.states[:, start:end], scores.sites[:, start:end], caller.scheme, caller.code,
            min_length=caller.min_length,
        )  # fmt: skip
        chosen, used = [], []
        for number, strand in enumerate(strands):
            size = end - start
            own = [
                (a - start, b - start) for a, b, s in genes if s == (-1 if number else 1) and a >= start and b <= end
            ]
            own = [(size - b, size - a) for a, b in own] if number else own
            picked, usable = marked(strand, own)
            chosen.append(picked)
            used.append(usable)
        found.append(Known(strands, (chosen[0], chosen[1]), (used[0], used[1])))
    return found


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
