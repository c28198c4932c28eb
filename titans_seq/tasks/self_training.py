"""Fit the plain scorer's tables to a new genome by its own confident genes, without any label of it.

    genes  <- decoder(network, tables of the training genome)
    tables <- counts over the genes that are whole and of log-odds above `CONFIDENT`
    shift  <- the share of open frames that hold a gene, by expectation and maximisation;  genes <- decoder(...);  again

The network and the decoder's weights stay as they were trained. What changes are the counts of hexamers, the binding
motif and the tables of start sites: the target's codon usage and start signals, as self-trained gene finders learn
theirs.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from titans_seq.genomics.gene_decoder import Gene, frame_odds
from titans_seq.genomics.gene_weights import prior_shift
from titans_seq.tasks.gene_calls import ContigScores, GeneCaller, count_tables, strand_genes

_log = logging.getLogger(__name__)

CONFIDENT = 2.0
"""Log-odds of a gene from which it is learned from: seven to one."""
FEWEST = 200
"""Confident genes below which the training genome's tables are kept."""


def adapt_to_genome(
    caller: GeneCaller, contigs: Sequence[tuple[NDArray[np.uint8], ContigScores | None]], *, rounds: int
) -> GeneCaller:
    """The caller after so many rounds on a genome, bases and scores of whose contigs are given."""
    for _ in range(rounds):
        better = fit_to_genome(caller, contigs, [caller.genes(tokens, scores) for tokens, scores in contigs])
        if better is None:
            break
        caller = better
    return caller


def fit_to_genome(
    caller: GeneCaller,
    contigs: Sequence[tuple[NDArray[np.uint8], ContigScores | None]],
    genes: Sequence[Sequence[Gene]],
) -> GeneCaller | None:
    """A caller whose tables are counted on a genome's own genes; None where too few are confident.

    Parameters
    ----------
    contigs, genes
        Bases and scores (None without a network) of every contig, and what the caller made of them.
    """
    sure = [
        [gene for gene in found if gene.score >= CONFIDENT and not gene.open_left and not gene.open_right]
        for found in genes
    ]
    count = sum(map(len, sure))
    if count < FEWEST:
        _log.warning("only %d confident genes: the codon counts of the training genome are kept", count)
        return None
    _log.info("codon counts and binding motif fitted to %d confident genes", count)
    counted = [
        pair
        for (tokens, _), found in zip(contigs, sure, strict=True)
        for pair in strand_genes(
            tokens,
            [(gene.start, gene.end, gene.strand) for gene in found],
            caller.code,
            min_length=caller.min_length,
        )
    ]
    codons, sites = count_tables(counted, caller.code, min_length=caller.min_length)
    fitted = replace(caller, codons=codons, sites=sites if caller.sites is not None else None)
    assert caller.weights is not None
    odds = [
        frame_odds(strands, caller.weights, max_overlap=caller.max_overlap)
        for tokens, scores in contigs
        for _, _, strands in fitted.pieces(tokens, scores)
    ]
    return replace(fitted, shift=prior_shift(np.concatenate(odds), caller.weights.share))
