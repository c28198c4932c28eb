"""Cheap labellers beside the network: the most frequent class, a regression on k-mers, and in-frame hexamers.

The regression sees the 3-mers of a window around a base, counted apart for the three places they can have relative to
it (so it can see codon positions), and gives the state of that base on the strand that the window is read on. The
genes of the plain scorer (`titans_seq.genomics.codon_scores`) come from the decoder that the network has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from titans_seq.genomics import N_TOKEN, Stretch, complement
from titans_seq.genomics.gene_decoder import fit_weights
from titans_seq.metrics.genes import Interval, class_scores
from titans_seq.training.regions_evaluate import as_intervals, genes_inside, plain_caller, tokens_of
from titans_seq.training.regions_job import RegionsJob

WINDOW = 60
"""Bases on either side of the base that is labelled."""
_FEATURES = 3 * 64 + 1
_STEPS = 300


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


def plain_genes(job: RegionsJob) -> list[list[Interval]]:
    """Genes of the held-out stretches by the plain scorer and the decoder, learned on everything not held out."""
    stretches = tuple(dict.fromkeys((*job.parts.train, *job.parts.fit)))
    caller = plain_caller(job, stretches)
    known = [
        part
        for stretch in stretches
        for part in caller.known(tokens_of(job, stretch), None, genes_inside(job.genes[stretch.contig].whole, stretch))
    ]
    caller = replace(caller, weights=fit_weights(known, max_overlap=caller.max_overlap))
    return [as_intervals(caller.genes(tokens_of(job, stretch), None)) for stretch in job.parts.valid]
