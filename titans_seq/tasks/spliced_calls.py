"""Genes with introns from the scores of a labelling model: a decoder for each strand, and the fit of its numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from titans_seq.genomics.codon_scores import CodonScores, StrandGenes, frame_scores
from titans_seq.genomics.gene_decoder import both_strands, gap_free
from titans_seq.genomics.introns import Introns
from titans_seq.genomics.labels import INTRON, LabelScheme
from titans_seq.genomics.open_frames import GeneticCode
from titans_seq.genomics.splice_sites import SplicedParts, SpliceSites
from titans_seq.genomics.spliced_decoder import SplicedGene, decode_spliced
from titans_seq.tasks.gene_calls import ContigScores

Part = tuple[int, int, int]
"""Start, end (0-based half-open, forward) and strand of a coding part."""


class _Numbers(NamedTuple):
    """What `SplicedCaller.fitted` chooses."""

    evidence: float
    content: float
    cost: float


_TRIED: Final = {
    "evidence": (0.0, 0.01, 0.03, 0.1, 0.3),
    "content": (0.25, 0.4, 0.6, 1.0),
    "cost": (-1.0, 0.0, 1.0, 3.0),
}


class PlacedGene(NamedTuple):
    """A gene on the forward strand.

    Attributes
    ----------
    parts
        Its coding parts in order of place, start and end.
    phases
        Of each part: bases to skip, in reading direction, to the next whole codon.
    probability
        Mean probability of being coding over its bases.
    """

    parts: tuple[tuple[int, int], ...]
    phases: tuple[int, ...]
    strand: int
    probability: float
    open_left: bool
    open_right: bool

    @property
    def coding_parts(self) -> list[Part]:
        """The parts with their strand."""
        return [(start, end, self.strand) for start, end in self.parts]


@dataclass(frozen=True)
class AnnotatedStretch:
    """Bases of a stretch, their scores if there are any, and the coding parts of each gene that lies whole inside."""

    tokens: NDArray[np.uint8]
    scores: ContigScores | None
    genes: Sequence[tuple[int, tuple[tuple[int, int], ...]]]


@dataclass(frozen=True)
class SplicedCaller:
    """Everything that turns scores into genes with introns.

    Attributes
    ----------
    scheme, code, starts
        What the states are; stop codons; start codons.
    sites
        What the letters around starts, donors and acceptors say.
    hexamers
        Log-odds of hexamers by codon position; see `titans_seq.genomics.codon_scores`.
    introns
        Their hexamers and lengths.
    evidence, content, cost
        a, b and c of `titans_seq.genomics.spliced_decoder`.
    min_length
        Of a gene's coding parts together, in bases.
    """

    scheme: LabelScheme
    code: GeneticCode
    starts: tuple[str, ...]
    sites: SpliceSites
    hexamers: NDArray[np.float32]
    introns: Introns
    evidence: float = 0.03
    content: float = 0.4
    cost: float = 0.0
    min_length: int = 90

    def genes(self, tokens: NDArray[np.uint8], scores: ContigScores | None) -> list[PlacedGene]:
        """The genes of a contig, in order; by counts alone where there are no scores."""
        found = []
        for start, end in gap_free(tokens):
            log_p = np.zeros((2, end - start, 5)) if scores is None else self._states(scores.part(start, end))
            for number, letters in enumerate(both_strands(tokens[start:end])):
                own = log_p[number, ::-1] if number else log_p[number]
                genes = decode_spliced(
                    letters, own, self.sites, self.code, starts=self.starts, evidence=self.evidence, cost=self.cost,
                    content=self.content * frame_scores(self.hexamers, letters).astype(np.float64),
                    introns=self.introns, between=self.content * self.introns.inside(letters),
                )  # fmt: skip
                coding = np.exp(own[:, 1:4]).sum(1)
                found += [
                    _placed(gene, coding, number, start, end)
                    for gene in genes
                    if sum(b - a for a, b in gene.parts) >= self.min_length
                ]
        return sorted(found, key=lambda gene: gene.parts)

    def fitted(self, known: Sequence[AnnotatedStretch]) -> SplicedCaller:
        """The three numbers that place most coding parts of annotated stretches exactly (F1), one after the other.

        The stretches must not be those that the tables were counted on: hexamers look surer on their own genes.
        """
        wanted = {(n, *part) for n, stretch in enumerate(known) for part in parts_of(stretch.genes)}
        measured: dict[_Numbers, float] = {}

        def quality(numbers: _Numbers) -> float:
            if numbers not in measured:
                caller = replace(self, **numbers._asdict())
                found = {
                    (n, *part)
                    for n, stretch in enumerate(known)
                    for gene in caller.genes(stretch.tokens, stretch.scores)
                    for part in gene.coding_parts
                }
                measured[numbers] = 2 * len(found & wanted) / max(len(found) + len(wanted), 1)
            return measured[numbers]

        best = _Numbers(self.evidence, self.content, self.cost)
        for name in (*_TRIED, *_TRIED):
            if name != "evidence" or any(stretch.scores is not None for stretch in known):
                best = max([best, *(best._replace(**{name: value}) for value in _TRIED[name])], key=quality)
        return replace(self, **best._asdict())

    def to_json(self) -> dict[str, Any]:
        """What was learned, but for the tables of hexamers."""
        numbers = {"evidence": self.evidence, "content": self.content, "cost": self.cost}
        lengths = {"near": np.round(self.introns.near, 5).tolist(), "slope": self.introns.slope}
        return {"kind": "spliced", **numbers, "sites": self.sites.to_json(), "introns": lengths}

    def _states(self, scores: ContigScores) -> NDArray[np.float64]:
        """Log-probabilities [2, T, 5] of none (with all classes but coding and intron), codon positions, intron."""
        p = np.exp(np.nan_to_num(scores.states.astype(np.float64), nan=-20.0))
        first, intron = self.scheme.first_state(self.scheme.framed or ""), self.scheme.first_state(INTRON)
        coding = p[:, :, first : first + 3]
        rest = np.maximum(1 - coding.sum(-1) - p[:, :, intron], 1e-6)
        return np.log(np.maximum(np.concatenate([rest[..., None], coding, p[:, :, intron, None]], -1), 1e-6))


def parts_of(genes: Iterable[tuple[int, tuple[tuple[int, int], ...]]]) -> list[Part]:
    """The coding parts of annotated genes, each with its strand."""
    return [(start, end, strand) for strand, parts in genes for start, end in parts]


def count_genes(
    stretches: Iterable[tuple[NDArray[np.uint8], Sequence[tuple[int, tuple[tuple[int, int], ...]]]]],
    *,
    starts: Sequence[str],
) -> tuple[SpliceSites, NDArray[np.float32], Introns]:
    """Count sites, hexamers by codon position, and introns, on stretches with the coding parts of their genes."""
    strands, counted = [], []
    for tokens, genes in stretches:
        for number, letters in enumerate(both_strands(tokens)):
            own = []
            for strand, parts in genes:
                if (strand < 0) == bool(number):
                    placed = [(tokens.size - b, tokens.size - a) if number else (a, b) for a, b in parts]
                    own.append(SplicedParts(tuple(sorted(placed))))
            strands.append((letters, own))
            whole = np.array(sorted(_whole_codons(own)), dtype=np.int64).reshape(-1, 2)
            used = np.ones(letters.size, dtype=np.bool_)
            counted.append(StrandGenes(letters, whole[:, 0], whole[:, 1], np.empty(0, dtype=np.int64), used))
    return SpliceSites.fit(strands, starts=starts), CodonScores.fit(counted).hexamers, Introns.fit(strands)


def _whole_codons(genes: Sequence[SplicedParts]) -> list[tuple[int, int]]:
    """The coding parts of genes, each from its first whole codon on."""
    found = []
    for gene in genes:
        position = 0
        for start, end in gene.parts:
            found.append((min(start + -position % 3, end), end))
            position = (position + end - start) % 3
    return found


def _placed(gene: SplicedGene, coding: NDArray[np.float64], number: int, start: int, end: int) -> PlacedGene:
    """Bring a gene of strand `number` of the piece ``start .. end`` into forward coordinates."""
    phases, position = [], gene.first
    for a, b in gene.parts:
        phases.append(-position % 3)
        position = (position + b - a) % 3
    mean = float(np.concatenate([coding[a:b] for a, b in gene.parts]).mean())
    if number:
        parts = tuple((end - b, end - a) for a, b in reversed(gene.parts))
        return PlacedGene(parts, tuple(reversed(phases)), -1, mean, gene.open_end, gene.open_start)
    placed = tuple((start + a, start + b) for a, b in gene.parts)
    return PlacedGene(placed, tuple(phases), 1, mean, gene.open_start, gene.open_end)
