"""Genes with introns from the scores of a labelling model: a decoder for each strand, and the fit of its numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from titans_seq.genomics.codon_scores import CodonScores, StrandGenes, frame_scores
from titans_seq.genomics.gene_decoder import both_strands, gap_free
from titans_seq.genomics.labels import INTRON, LabelScheme
from titans_seq.genomics.open_frames import GeneticCode
from titans_seq.genomics.splice_sites import SplicedParts, SpliceSites
from titans_seq.genomics.spliced_decoder import SplicedGene, decode_spliced
from titans_seq.tasks.gene_calls import ContigScores

Part = tuple[int, int, int]
"""Start, end (0-based half-open, forward) and strand of a coding part."""

_EVIDENCE: Final = (0.1, 0.3, 0.7)
_CONTENT: Final = (0.0, 0.5, 1.0)
_COST: Final = (-2.0, 0.0, 2.0, 5.0)


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
    """Bases of a stretch, their scores, and the coding parts of each gene that lies whole inside it."""

    tokens: NDArray[np.uint8]
    scores: ContigScores
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
    evidence: float = 0.3
    content: float = 0.5
    cost: float = 0.0
    min_length: int = 90

    def genes(self, tokens: NDArray[np.uint8], scores: ContigScores) -> list[PlacedGene]:
        """The genes of a contig, in order."""
        found = []
        for start, end in gap_free(tokens):
            part = scores.part(start, end)
            log_p = self._states(part)
            for number, letters in enumerate(both_strands(tokens[start:end])):
                own = log_p[number, ::-1] if number else log_p[number]
                genes = decode_spliced(
                    letters, own, self.sites, self.code, starts=self.starts, evidence=self.evidence, cost=self.cost,
                    content=self.content * frame_scores(self.hexamers, letters).astype(np.float64),
                )  # fmt: skip
                coding = np.exp(own[:, 1:4]).sum(1)
                found += [
                    _placed(gene, coding, number, start, end)
                    for gene in genes
                    if sum(b - a for a, b in gene.parts) >= self.min_length
                ]
        return sorted(found, key=lambda gene: gene.parts)

    def fitted(self, known: Sequence[AnnotatedStretch]) -> SplicedCaller:
        """The three numbers that place most coding parts of annotated stretches exactly (F1)."""
        wanted = [(n, *part) for n, stretch in enumerate(known) for part in parts_of(stretch.genes)]

        def quality(caller: SplicedCaller) -> float:
            found = {
                (n, *part)
                for n, stretch in enumerate(known)
                for gene in caller.genes(stretch.tokens, stretch.scores)
                for part in gene.coding_parts
            }
            return 2 * len(found & set(wanted)) / max(len(found) + len(set(wanted)), 1)

        grid = [replace(self, evidence=a, content=b, cost=c) for a, b, c in product(_EVIDENCE, _CONTENT, _COST)]
        return max(grid, key=quality)

    def to_json(self) -> dict[str, Any]:
        """What was learned, but for the table of hexamers."""
        numbers = {"evidence": self.evidence, "content": self.content, "cost": self.cost}
        return {"kind": "spliced", **numbers, "sites": self.sites.to_json()}

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
) -> tuple[SpliceSites, NDArray[np.float32]]:
    """Count sites, and hexamers by codon position, on bases of stretches with the coding parts of their genes."""
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
    return SpliceSites.fit(strands, starts=starts), CodonScores.fit(counted).hexamers


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
