"""Cheap labellers beside the network: the most frequent class, regressions on what stands around a base, hexamers.

The regressions see a window around a base, read on the strand that is labelled: its share of G and C; its 3-mers,
counted apart for the three places they can have relative to the base (so codon positions can be seen); its letters at
their places. A base has no length, so there is no row for length. The genes of the
plain scorer (`titans_seq.genomics.codon_scores`) come from the decoder that the network has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F

from titans_seq.genomics import N_TOKEN, Stretch, complement
from titans_seq.metrics.genes import Interval, class_scores
from titans_seq.training.regions_decoder import class_truth, plain_caller, plain_weights, spliced_caller, tokens_of
from titans_seq.training.regions_evaluate import as_intervals, decoded_classes, exon_table, gene_table
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


def regressions(job: RegionsJob, *, windows: int, seed: int) -> dict[str, list[dict[str, Any]]]:
    """Softmax regressions by name: each is learned and scored on at most `windows` bases."""
    random = np.random.default_rng(seed)
    train = sample_bases(job, job.parts.train, windows, random)
    valid = sample_bases(job, job.parts.valid, windows, random)
    around = [_around(job, bases) for bases in (train, valid)]
    columns = {"GC regression": _gc_share, "k-mer regression": _window_counts, "one-hot regression": _one_hot}
    return {
        name: score_regression(job, (make(around[0]), train), (make(around[1]), valid), seed=seed)
        for name, make in columns.items()
    }


@dataclass(frozen=True)
class SampledBases:
    """Some labelled bases: the stretch of each, its place in the stretch, its strand (0 or 1), and its state."""

    stretches: tuple[Stretch, ...]
    stretch: NDArray[np.int64]
    place: NDArray[np.int64]
    strand: NDArray[np.int64]
    state: NDArray[np.int64]


def sample_bases(
    job: RegionsJob, stretches: Sequence[Stretch], count: int, random: np.random.Generator
) -> SampledBases:
    """Draw about `count` labelled bases from stretches in proportion to their lengths, half of each strand."""
    total = sum(map(len, stretches))
    drawn = []
    for number, stretch in enumerate(stretches):
        states = job.tracks[stretch.contig].states[:, stretch.start : stretch.end]
        for strand in range(2):
            known = np.flatnonzero(states[strand] >= 0)
            size = min(known.size, max(1, count * len(stretch) // (2 * total)))
            places = np.sort(random.choice(known, size=size, replace=False)) if size else known
            drawn.append((np.full(size, number), places, np.full(size, strand), states[strand, places]))
    columns = [np.concatenate(column).astype(np.int64) for column in zip(*drawn, strict=True)]
    return SampledBases(tuple(stretches), *columns)


def score_regression(
    job: RegionsJob,
    train: tuple[NDArray[np.float32], SampledBases],
    valid: tuple[NDArray[np.float32], SampledBases],
    *,
    seed: int,
) -> list[dict[str, Any]]:
    """Fit a softmax regression of the states on columns [N, F], and score its classes on other bases."""
    torch.manual_seed(seed)
    x, y = torch.from_numpy(train[0]), torch.from_numpy(train[1].state)
    mean, spread = x.mean(0), x.std(0) + 1e-3
    model = nn.Linear(x.shape[1], len(job.scheme.states))
    optimiser = torch.optim.Adam(model.parameters(), lr=0.05, weight_decay=1e-5)
    for step in range(_STEPS):
        rows = slice(None) if len(y) <= 8192 else torch.randint(0, len(y), (8192,))
        for group in optimiser.param_groups:
            group["lr"] = 0.05 * (1 - step / _STEPS)
        optimiser.zero_grad()
        F.cross_entropy(model((x[rows] - mean) / spread), y[rows]).backward()
        optimiser.step()
    with torch.no_grad():
        p = model((torch.from_numpy(valid[0]) - mean) / spread).softmax(-1).numpy()
    classes = np.array(job.scheme.class_of_state)
    sums = np.stack([p[:, classes == number].sum(1) for number in range(len(job.scheme.classes) + 1)], 1)
    truth = classes[valid[1].state].astype(np.int8)
    return class_scores(truth, sums.argmax(1).astype(np.int8), ("none", *job.scheme.classes))


def _around(job: RegionsJob, bases: SampledBases) -> NDArray[np.uint8]:
    """The letters around each base, read on its strand: [N, 2 WINDOW + 1], unknown beyond the stretch."""
    found = np.empty((bases.state.size, 2 * WINDOW + 1), dtype=np.uint8)
    edge = np.full(WINDOW, N_TOKEN, np.uint8)
    for number, stretch in enumerate(bases.stretches):
        padded = np.concatenate([edge, tokens_of(job, stretch), edge])
        rows = np.flatnonzero(bases.stretch == number)
        found[rows] = padded[bases.place[rows, None] + np.arange(2 * WINDOW + 1)]
    reverse = bases.strand == 1
    found[reverse] = complement(found[reverse, ::-1])
    return found


def _gc_share(around: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Share of G and C among the known letters, and its square, [N, 2]."""
    known = np.maximum((around < N_TOKEN).sum(1), 1)
    share = ((around == 1) | (around == 2)).sum(1) / known
    return np.stack([share, share**2], 1).astype(np.float32)


def _window_counts(around: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Counts of the 3-mers by their distance to the base modulo three, [N, 3 * 64 + 1]."""
    letters = around.astype(np.int64)
    first, second, third = letters[:, :-2], letters[:, 1:-1], letters[:, 2:]
    known = np.maximum(np.maximum(first, second), third) < N_TOKEN
    frame = (np.arange(first.shape[1]) - WINDOW) % 3
    column = np.where(known, frame * 64 + 16 * first + 4 * second + third, _FEATURES - 1)
    flat = (column + np.arange(len(around))[:, None] * _FEATURES).ravel()
    return np.bincount(flat, minlength=len(around) * _FEATURES).reshape(-1, _FEATURES).astype(np.float32)


def _one_hot(around: NDArray[np.uint8]) -> NDArray[np.float32]:
    """One column for each letter at each place, [N, 4 (2 WINDOW + 1)]."""
    return (around[:, :, None] == np.arange(4, dtype=np.uint8)).reshape(len(around), -1).astype(np.float32)


def plain_scores(job: RegionsJob) -> dict[str, Any] | None:
    """What the decoder reaches on its counts alone, without a network; None where genes are not put together."""
    if job.decode is None:
        return None
    if job.decode == "spliced":
        caller = spliced_caller(job, lambda stretch: None)
        placed = [caller.genes(tokens_of(job, stretch), None) for stretch in job.parts.valid]
        truth = np.concatenate([class_truth(job, stretch).ravel() for stretch in job.parts.valid])
        decoded = class_scores(truth, decoded_classes(job, placed), ("none", *job.scheme.classes))
        return {"genes": None, "coding": {}, "exons": exon_table(job, placed), "decoded": decoded}
    genes, coding = gene_table(job.parts.valid, _plain_genes(job), job.genes, job.config.evaluation.min_gene)
    return {"genes": genes.to_json(), "coding": coding, "exons": None, "decoded": None}


def _plain_genes(job: RegionsJob) -> list[list[Interval]]:
    """Genes of the held-out stretches by the plain scorer and the decoder, learned on everything not held out."""
    stretches = tuple(dict.fromkeys((*job.parts.train, *job.parts.fit)))
    caller = plain_caller(job, stretches)
    caller = replace(caller, weights=plain_weights(job, caller, stretches))
    return [as_intervals(caller.genes(tokens_of(job, stretch), None)) for stretch in job.parts.valid]
