"""The features of a contig as rows of GFF3 or BED: genes by the decoder, the other classes as runs of bases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import exp
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from titans_seq.genomics.gene_decoder import Gene
from titans_seq.genomics.gff_writer import Prediction, numbered
from titans_seq.genomics.labels import LabelScheme
from titans_seq.tasks.gene_calls import ContigScores, GeneCaller
from titans_seq.tasks.run_calls import RunRule, runs_of_class
from titans_seq.tasks.spliced_calls import PlacedGene, SplicedCaller


def contig_features(
    name: str,
    tokens: NDArray[np.uint8],
    scores: ContigScores,
    *,
    scheme: LabelScheme,
    classes: Sequence[str],
    caller: GeneCaller | SplicedCaller | None,
    rules: Mapping[str, RunRule] = MappingProxyType({}),
) -> list[Prediction]:
    """Features of ``classes`` of the contig ``name``; without a caller, genes are runs of bases as well.

    `rules` say how the runs of a class are found.
    """
    found: list[Prediction] = []
    for kind in classes:
        if isinstance(caller, SplicedCaller) and kind == scheme.framed:
            found += [_spliced(name, kind, gene) for gene in caller.genes(tokens, scores)]
            continue
        decoded = caller is not None and kind == scheme.framed
        genes = (
            caller.genes(tokens, scores)
            if isinstance(caller, GeneCaller) and decoded
            else runs_of_class(tokens, scores, scheme, kind, rules.get(kind))
        )
        found += [_prediction(name, kind, gene, decoded=decoded) for gene in genes]
    return numbered(found)


def _spliced(name: str, kind: str, gene: PlacedGene) -> Prediction:
    return Prediction(
        name, gene.parts[0][0], gene.parts[-1][1], gene.strand, kind, min(gene.probability, 1.0), gene.open_left,
        gene.open_right, parts=gene.parts, phases=gene.phases,
    )  # fmt: skip


def _prediction(name: str, kind: str, gene: Gene, *, decoded: bool) -> Prediction:
    score = 1 / (1 + exp(-max(min(gene.score, 30.0), -30.0)))
    notes = {"start_probability": f"{gene.start_probability:.4f}"} if decoded else {}
    return Prediction(name, gene.start, gene.end, gene.strand, kind, score, gene.open_left, gene.open_right, notes)
