"""What the memories of a model did over a stretch: surprise and gates, averaged over heads."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from titans_seq.memory import Reading
from titans_seq.tasks import NextBase
from titans_seq.tasks.scoring import Fetch

QUANTITIES = {
    "surprise": "surprise (length of the gradient)",
    "learning_rate": "learning rate",
    "momentum": "momentum: share of the past surprise kept",
    "forget": "forget: share of the memory lost",
}


@torch.no_grad()
def trace_memory(
    task: NextBase,
    fetch: Fetch,
    *,
    contig: str,
    start: int,
    stop: int,
    lead: int,
    call: int,
    device: torch.device,
) -> dict[str, NDArray[np.float32]]:
    """Read ``start .. stop`` behind ``lead`` bases and give what each memory did there.

    Parameters
    ----------
    call
        Tokens of one call, about: what is recorded of a chunk in two pieces would be recorded twice.

    Returns
    -------
    dict
        By quantity, (memories, stop - start); a quantity that no memory has is left out, and without a memory
        nothing is left.
    """
    first, border = max(0, start - lead), task.encoder.border
    call = -(-call // border) * border
    was_training = task.training
    task.eval()
    state = None
    with task.encoder.record() as readings:
        for at in range(first, stop, call):
            tokens = torch.from_numpy(fetch(contig, at, min(at + call, stop)).astype(np.int64))[None].to(device)
            _, state = task(tokens, state=state)
        series = {label: [_joined(seen, name) for seen in readings] for name, label in QUANTITIES.items()}
    task.train(was_training)
    kept = {label: [line for line in lines if line is not None] for label, lines in series.items()}
    return {label: np.stack(lines)[:, start - first : stop - first] for label, lines in kept.items() if lines}


def _joined(readings: list[Reading], name: str) -> NDArray[np.float32] | None:
    values = [getattr(reading, name) for reading in readings]
    if not values or any(value is None for value in values):
        return None
    joined: NDArray[np.float32] = torch.cat([value.float().mean(dim=1)[0] for value in values]).cpu().numpy()
    return joined
