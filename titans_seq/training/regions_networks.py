"""Two networks that a labelling model must be compared with: a small CNN, and the model itself untrained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from titans_seq.genomics import Stretch
from titans_seq.genomics.labels import IGNORED
from titans_seq.metrics.genes import class_scores
from titans_seq.tasks.base_labels import BaseLabels
from titans_seq.tasks.build_regions import build_base_labels
from titans_seq.tasks.label_cnn import LabelCnn
from titans_seq.training.regions_baselines import SampledBases, sample_bases, score_regression
from titans_seq.training.regions_decoder import class_truth
from titans_seq.training.regions_job import RegionsJob
from titans_seq.training.regions_streams import LabelledStreams, with_margins

_RATE = 3e-3
_BLOCKS = 128
"""Blocks that the untrained network reads of each part: there is no more to learn from others."""


def small_cnn(job: RegionsJob, *, steps: int, seed: int) -> list[dict[str, Any]]:
    """Train a small CNN on the blocks that the network is trained on, for `steps` steps, and score it."""
    settings = job.config.blocks
    torch.manual_seed(seed)
    cnn = LabelCnn(n_states=len(job.scheme.states))
    streams = LabelledStreams(
        job.genome, job.parts.train, job.tracks, rows=settings.rows, length=settings.length, margin=settings.margin,
        gap_reset=settings.gap_reset, seed=seed, classes=job.scheme.class_of_state,
    )  # fmt: skip
    optimiser = torch.optim.AdamW(cnn.parameters(), lr=_RATE, weight_decay=0.01)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, _RATE, total_steps=steps + 1, pct_start=0.1)
    for _ in range(steps):
        block = next(streams)
        labels = torch.from_numpy(block.labels).long()
        optimiser.zero_grad()
        logits = cnn(torch.from_numpy(block.tokens), margin=settings.margin)
        F.cross_entropy(logits.flatten(0, 2), labels.flatten(), ignore_index=IGNORED).backward()
        optimiser.step()
        rate.step()
    cnn.eval()
    truth = [class_truth(job, stretch).ravel() for stretch in job.parts.valid]
    found = [_classes(job, cnn, stretch).ravel() for stretch in job.parts.valid]
    return class_scores(np.concatenate(truth), np.concatenate(found), ("none", *job.scheme.classes))


@torch.no_grad()
def _classes(job: RegionsJob, cnn: LabelCnn, stretch: Stretch) -> NDArray[np.int8]:
    """The class of every base of a stretch that the CNN finds most probable, int8 [2, T]."""
    length, margin = job.config.blocks.length, job.config.blocks.margin
    states = torch.tensor(job.scheme.class_of_state)
    found = np.empty((2, len(stretch)), dtype=np.int8)
    for start in range(stretch.start, stretch.end, length):
        block = with_margins(job.genome, stretch, start, length=length, margin=margin)
        p = cnn(torch.from_numpy(block)[None], margin=margin)[0].softmax(-1)
        sums = p.new_zeros(*p.shape[:2], len(job.scheme.classes) + 1).index_add_(2, states, p)
        size = min(length, stretch.end - start)
        found[:, start - stretch.start :][:, :size] = sums.argmax(-1)[:, :size].to(torch.int8).numpy()
    return found


def random_weights(job: RegionsJob, *, windows: int, seed: int) -> list[dict[str, Any]]:
    """The same network untrained, memory reset in every block, with a regression on what its head would read."""
    torch.manual_seed(seed)
    task = build_base_labels(job.config).eval()
    random = np.random.default_rng(seed)

    def read(stretches: Sequence[Stretch]) -> tuple[NDArray[np.float32], SampledBases]:
        blocks = _blocks(stretches, job.config.blocks.length)
        chosen = random.permutation(len(blocks))[:_BLOCKS]
        bases = sample_bases(job, [blocks[number] for number in sorted(chosen.tolist())], windows, random)
        return _hidden(job, task, bases), bases

    return score_regression(job, read(job.parts.train), read(job.parts.valid), seed=seed)


def _blocks(stretches: Sequence[Stretch], length: int) -> list[Stretch]:
    """Cut stretches into blocks of `length` bases, the last of each shorter."""
    return [
        Stretch(stretch.contig, start, min(start + length, stretch.end))
        for stretch in stretches
        for start in range(stretch.start, stretch.end, length)
    ]


@torch.no_grad()
def _hidden(job: RegionsJob, task: BaseLabels, bases: SampledBases) -> NDArray[np.float32]:
    """What the head of `task` reads at bases of some blocks, [N, width]."""
    length, margin = job.config.blocks.length, job.config.blocks.margin
    found = np.empty((bases.state.size, job.config.letters.width), dtype=np.float32)
    for number, block in enumerate(bases.stretches):
        rows = np.flatnonzero(bases.stretch == number)
        if rows.size:
            whole = Stretch(block.contig, 0, job.genome.contig(block.contig).length)
            tokens = with_margins(job.genome, whole, block.start, length=length, margin=margin)
            hidden = task.hidden(torch.from_numpy(tokens)[None])[0].numpy()
            found[rows] = hidden[bases.strand[rows], bases.place[rows]]
    return found
