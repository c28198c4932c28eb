"""Read the contigs of a genome with a labelling model: scores of every base, or means of a class in bins."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from titans_seq.genomics import Genome
from titans_seq.genomics.labels import LabelScheme
from titans_seq.genomics.tracks import BinMeans
from titans_seq.streaming.regions import RegionsModel
from titans_seq.tasks.base_labels import BaseLabelsState
from titans_seq.tasks.gene_calls import ContigScores
from titans_seq.tasks.label_scan import BlockScores, read_ahead, scan

Watch = Callable[[str, float, float, str], None]
Scored = tuple[str, NDArray[np.uint8], ContigScores]
"""Name, bases and scores of a contig."""


def stream_all(model: RegionsModel, genome: Genome, *, watch: Watch) -> BaseLabelsState | None:
    """What the memory holds when it has read every contig, one after the other."""
    state, done = None, 0
    for contig in genome.contigs:
        state = read_ahead(model.task, genome.tokens(contig.name), length=model.config.blocks.length, state=state)
        done += contig.length
        watch("reading ahead", done, genome.total, contig.name)
    return state


def read_contigs(
    model: RegionsModel,
    genome: Genome,
    *,
    state: BaseLabelsState | None,
    until: Mapping[str, tuple[int, int]] | None = None,
    watch: Watch,
) -> Iterator[Scored]:
    """Every contig with its scores; the memory of each begins with ``state``.

    Parameters
    ----------
    until
        Start and end of what is wanted of each contig: nothing behind the end's block is read.
    """
    done = 0
    for contig in genome.contigs:
        tokens = genome.tokens(contig.name)
        blocks = scan(model.task, tokens, length=model.config.blocks.length, state=state)
        if until is not None:
            blocks = _until(blocks, until[contig.name][1])
        yield contig.name, tokens, ContigScores.gather(blocks, length=contig.length, n_states=model.task.n_states)
        done += contig.length
        watch("annotating", done, genome.total, contig.name)


def class_means(
    contigs: Iterable[Scored],
    scheme: LabelScheme,
    kind: str,
    *,
    strand: str,
    size: int,
    own: Mapping[str, tuple[int, int]],
) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Mean probability of a class in each bin of ``size`` bases of what is ``own`` of each contig, NaN elsewhere.

    ``strand`` is ``+``, ``-``, or anything else for the larger of both.
    """
    first = scheme.first_state(kind)
    for name, tokens, scores in contigs:
        start, end = own[name]
        p = scores.part(start, end).probability(range(first, first + (3 if kind in scheme.frames else 1)))
        means = BinMeans(tokens.size, size=size)
        means.add(start, p[0] if strand == "+" else p[1] if strand == "-" else p.max(0))
        yield name, means.means()


def _until(blocks: Iterable[BlockScores], end: int) -> Iterator[BlockScores]:
    for block in blocks:
        yield block
        if block.start + block.sites.shape[1] >= end:
            return
