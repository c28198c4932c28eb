"""Cheap labellers beside the network: the most frequent class, a regression on k-mers, and in-frame hexamers.

The regression sees the 3-mers of a window around a base, counted apart for the three places they can have relative to
it (so it can see codon positions), and gives the state of that base on the strand that the window is read on. The
hexamers are the plain scorer of `titans_seq.genomics.codon_scores` in front of the same decoder as the network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from titans_seq.genomics import N_TOKEN, Stretch, complement
from titans_seq.genomics.codon_scores import CodonScores, StrandGenes
from titans_seq.genomics.gene_decoder import Known, Strand, both_strands, decode_genes, fit_weights, gap_free
from titans_seq.genomics.gene_weights import GeneWeights
from titans_seq.genomics.open_frames import open_frames
from titans_seq.metrics.genes import Interval, class_scores
from titans_seq.tasks.gene_calls import marked
from titans_seq.training.regions_evaluate import as_intervals
from titans_seq.training.regions_job import RegionsJob

WINDOW = 60
"""Bases on either side of the base that is labelled."""
_FEATURES = 3 * 64 + 1
_STEPS = 300
Watch = Callable[[str, float, float, str], None]


def majority(job: RegionsJob, truth: NDArray[np.int8]) -> list[dict[str, Any]]:
    """Every base is what most bases are."""
    names = ("none", *job.scheme.classes)
    most = int(np.bincount(truth[truth >= 0]).argmax())
    return class_scores(truth, np.full_like(truth, most), names)


def kmer_regression(job: RegionsJob, *, windows: int, seed: int) -> list[dict[str, Any]]:
    """Softmax regression on in-frame 3-mers: learned and scored on at most `windows` bases each."""
    random = np.random.default_rng(seed)
    torch.manual_seed(seed)
    train_x, train_y = _sample(job, job.parts.train, windows, random)
    valid_x, valid_y = _sample(job, job.parts.valid, windows, random)
    mean, spread = train_x.mean(0), train_x.std(0) + 1e-3
    model = nn.Linear(_FEATURES, len(job.scheme.states))
    optimiser = torch.optim.Adam(model.parameters(), lr=0.05, weight_decay=1e-5)
    x, y = (train_x - mean) / spread, train_y
    for step in range(_STEPS):
        rows = slice(None) if len(y) <= 8192 else torch.randint(0, len(y), (8192,))
        for group in optimiser.param_groups:
            group["lr"] = 0.05 * (1 - step / _STEPS)
        optimiser.zero_grad()
        F.cross_entropy(model(x[rows]), y[rows]).backward()
        optimiser.step()
    with torch.no_grad():
        p = model((valid_x - mean) / spread).softmax(-1).numpy()
    classes = np.array(job.scheme.class_of_state)
    sums = np.stack([p[:, classes == number].sum(1) for number in range(len(job.scheme.classes) + 1)], 1)
    truth = classes[valid_y.numpy()].astype(np.int8)
    return class_scores(truth, sums.argmax(1).astype(np.int8), ("none", *job.scheme.classes))


def _sample(
    job: RegionsJob, stretches: Sequence[Stretch], count: int, random: np.random.Generator
) -> tuple[Tensor, Tensor]:
    total = sum(map(len, stretches))
    features, labels = [], []
    for stretch in stretches:
        tokens = job.genome.tokens(stretch.contig, stretch.start, stretch.end)
        states = job.tracks[stretch.contig].states[:, stretch.start : stretch.end]
        for row in range(2):
            known = np.flatnonzero(states[row] >= 0)
            size = min(known.size, max(1, count * len(stretch) // (2 * total)))
            if not known.size:
                continue
            places = random.choice(known, size=size, replace=False)
            features.append(_window_counts(tokens, places, reverse=row == 1))
            labels.append(states[row, places])
    return torch.from_numpy(np.concatenate(features)), torch.from_numpy(np.concatenate(labels).astype(np.int64))


def _window_counts(tokens: NDArray[np.uint8], places: NDArray[np.int64], *, reverse: bool) -> NDArray[np.float32]:
    """Counts of the 3-mers around each place by their distance to it modulo three, read on either strand."""
    padded = np.concatenate([np.full(WINDOW, N_TOKEN, np.uint8), tokens, np.full(WINDOW, N_TOKEN, np.uint8)])
    around = padded[places[:, None] + np.arange(2 * WINDOW + 1)].astype(np.int64)
    if reverse:
        around = complement(around[:, ::-1].astype(np.uint8)).astype(np.int64)
    first, second, third = around[:, :-2], around[:, 1:-1], around[:, 2:]
    known = np.maximum(np.maximum(first, second), third) < N_TOKEN
    frame = (np.arange(first.shape[1]) - WINDOW) % 3
    column = np.where(known, frame * 64 + 16 * first + 4 * second + third, _FEATURES - 1)
    flat = (column + np.arange(len(places))[:, None] * _FEATURES).ravel()
    return np.bincount(flat, minlength=len(places) * _FEATURES).reshape(-1, _FEATURES).astype(np.float32)


def hexamer_genes(job: RegionsJob) -> list[list[Interval]]:
    """Genes of the held-out stretches by counts of the training part, both network parts of it, and the decoder."""
    pieces = [(stretch, part) for stretch in (*job.parts.train, *job.parts.fit) for part in _gap_free(job, stretch)]
    strands = [_with_genes(job, stretch, part) for stretch, part in pieces]
    model = CodonScores.fit(strand for pair in strands for strand in pair)
    known = [_known(job, model, pair) for pair in strands]
    weights = fit_weights(known, max_overlap=job.config.decoder.max_overlap)
    return [_decoded(job, model, weights, stretch) for stretch in job.parts.valid]


def _decoded(job: RegionsJob, model: CodonScores, weights: GeneWeights, stretch: Stretch) -> list[Interval]:
    found: list[Interval] = []
    for start, end in _gap_free(job, stretch):
        tokens = job.genome.tokens(stretch.contig, stretch.start + start, stretch.start + end)
        genes = decode_genes(_strands(job, model, tokens), weights, max_overlap=job.config.decoder.max_overlap)
        found += [(a + start, b + start, strand) for a, b, strand in as_intervals(genes)]
    return found


def _gap_free(job: RegionsJob, stretch: Stretch) -> list[tuple[int, int]]:
    return gap_free(job.genome.tokens(stretch.contig, stretch.start, stretch.end))


def _strands(job: RegionsJob, model: CodonScores, tokens: NDArray[np.uint8]) -> tuple[Strand, Strand]:
    found = [
        Strand.read(letters, model.scores(letters), job.code, min_length=job.config.decoder.min_length)
        for letters in both_strands(tokens)
    ]
    return found[0], found[1]


def _with_genes(job: RegionsJob, stretch: Stretch, part: tuple[int, int]) -> tuple[StrandGenes, StrandGenes]:
    start, end = stretch.start + part[0], stretch.start + part[1]
    size = end - start
    tokens = job.genome.tokens(stretch.contig, start, end)
    inside = [gene for gene in job.genes[stretch.contig].whole if start <= gene[0] and gene[1] <= end]
    states = job.tracks[stretch.contig].states[:, start:end]
    found = []
    for number, letters in enumerate(both_strands(tokens)):
        own = [(a - start, b - start) for a, b, strand in inside if strand == (-1 if number else 1)]
        own = sorted((size - b, size - a) for a, b in own) if number else sorted(own)
        genes = np.array(own, dtype=np.int64).reshape(-1, 2)
        candidates = np.unique(open_frames(letters, job.code, min_length=job.config.decoder.min_length).start)
        others = candidates[~np.isin(candidates, genes[:, 0])]
        used = (states[number] if number == 0 else states[number][::-1]) >= 0
        found.append(StrandGenes(letters, genes[:, 0], genes[:, 1], others, used))
    return found[0], found[1]


def _known(job: RegionsJob, model: CodonScores, pair: tuple[StrandGenes, StrandGenes]) -> Known:
    strands = _strands(job, model, pair[0].tokens)
    marks = [
        marked(strand, list(zip(genes.start.tolist(), genes.end.tolist(), strict=True)))
        for strand, genes in zip(strands, pair, strict=True)
    ]
    return Known(strands, (marks[0][0], marks[1][0]), (marks[0][1], marks[1][1]))
