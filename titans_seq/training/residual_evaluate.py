"""What a residual encoder is worth on rows it was not trained on: memory carried, reset, off, with a gate between."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from titans_seq.tasks.encoder_state import EncoderOnly
from titans_seq.tasks.series_residual import SeriesResidual
from titans_seq.training.residual_streams import ResidualRows, cut


@dataclass(frozen=True)
class Judged:
    """Sums over the steps of each origin that was judged, (origins,).

    Attributes
    ----------
    base
        Squared error beneath.
    cross
        Correction times residual.
    square
        Squared correction.
    count
        Known steps.
    """

    base: NDArray[np.float64]
    cross: NDArray[np.float64]
    square: NDArray[np.float64]
    count: NDArray[np.float64]

    def gate(self) -> float:
        """The share of the correction that these origins would have liked best, 0 to 1."""
        return float(np.clip(self.cross.sum() / max(self.square.sum(), 1e-12), 0, 1))

    def mse(self, gate: float) -> float:
        """Mean squared error with a share of the correction."""
        return float((self.base - 2 * gate * self.cross + gate**2 * self.square).sum() / self.count.sum())

    def gain(self, gate: float, *, blocks: int = 20) -> tuple[float, float]:
        """What the correction saves, and the standard error of that over blocks of time."""
        saved = 2 * gate * self.cross - gate**2 * self.square
        parts = [part.sum() for part in np.array_split(saved, blocks)]
        counts = [part.sum() for part in np.array_split(self.count, blocks)]
        means = np.array(parts) / np.maximum(counts, 1)
        return float(saved.sum() / self.count.sum()), float(means.std(ddof=1) / np.sqrt(blocks))


@torch.no_grad()
def judge(
    task: SeriesResidual, rows: ResidualRows, first: int, last: int, *, patch: int, arm: str = "carried",
    length: int = 512, every: int = 64, lead: int | None = None,
) -> Judged:  # fmt: skip
    """Correct the path of every origin ``first`` to ``last`` (half-open), all offsets of the patch side by side.

    Parameters
    ----------
    arm
        ``carried``; ``reset``, afresh every ``every`` tokens; ``off``, reads of the memory are zero.
    length
        Tokens of a call.
    lead
        Origins read before ``first``; all of them unless given.
    """
    task.eval()
    begin = 0 if lead is None else max(0, first - lead)
    device = next(task.parameters()).device
    step = every if arm == "reset" else length
    sums = np.zeros((4, last - first))
    state: EncoderOnly | None = None
    with task.encoder.memory_off() if arm == "off" else nullcontext():
        for at in range(begin, last, step * patch):
            parts = [cut(rows, at + offset, step, patch, stop=last) for offset in range(patch)]
            features, targets, mask = (np.stack(column) for column in zip(*parts, strict=True))
            before = None if arm == "reset" else state
            correction, state = task(torch.from_numpy(features).to(device), torch.from_numpy(mask).to(device), before)
            origins = at + np.arange(patch)[:, None] + patch * np.arange(step)
            _add(sums, correction.cpu().numpy(), targets, rows, origins, mask & (origins >= first), first)
    return Judged(*sums)


def _add(
    sums: NDArray[np.float64], correction: NDArray[np.float32], targets: NDArray[np.float32], rows: ResidualRows,
    origins: NDArray[np.int64], wanted: NDArray[np.bool_], first: int,
) -> None:  # fmt: skip
    at = origins[wanted]
    scale = rows.scale[at, None].astype(np.float64)
    residual = targets[wanted] * scale
    known = np.isfinite(residual)
    residual = np.where(known, residual, 0)
    moved = np.where(known, correction[wanted] * scale, 0)
    for row, value in enumerate((residual**2, moved * residual, moved**2, known)):
        sums[row, at - first] = value.sum(axis=1)
