"""Score a trained model on the held-out part in every arm, and say what each took."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack

import numpy as np
import torch

from titans_seq.config.sections import EvaluationSection
from titans_seq.tasks import BITS_PER_NAT, NextBase, Piece, score_pieces
from titans_seq.tasks.scoring import Fetch
from titans_seq.training.arms import ARMS, NEURAL_SILENT, TABLE_SILENT, Costs, Held, gather, pieces_of

_log = logging.getLogger(__name__)

CALL = 4096
"""Tokens of one call at most."""
OVERHEAD = 2048
"""What a call costs beside its tokens, in tokens."""


def score_arms(
    task: NextBase,
    held: Sequence[Held],
    fetch: Fetch,
    *,
    settings: EvaluationSection,
    device: torch.device,
    arms: Sequence[str] = ARMS,
    watch: Callable[[str, float, float, str], None] = lambda stage, done, total, note: None,
) -> tuple[dict[str, Costs], dict[str, float]]:
    """Score ``held`` in each arm.

    Parameters
    ----------
    task
        The trained model, on ``device``.
    held
        What to score.
    fetch
        Gives the tokens of a contig.
    watch
        Told how far each arm is.

    Returns
    -------
    tuple
        Bits for each base of the stretches laid end to end, by arm, and seconds by arm.
    """
    bits: dict[str, Costs] = {}
    seconds: dict[str, float] = {}
    for arm in arms:
        began = time.monotonic()
        pieces = pieces_of(
            arm,
            held,
            window=settings.window,
            lead_in=settings.lead_in,
            piece=settings.piece,
            carry_bases=settings.carry_bases,
        )
        flat = [piece for group in pieces for piece in group]
        total = sum(piece.stop - piece.start for piece in flat)
        done = 0

        def count(read: int, arm: str = arm, total: int = total) -> None:
            nonlocal done
            done += read
            watch(f"scoring {arm}", done, total, f"{done:,} of {total:,} bases")

        with ExitStack() as silence:
            if arm in NEURAL_SILENT:
                silence.enter_context(task.encoder.memory_off())
            if arm in TABLE_SILENT and task.mixing is not None:
                silence.enter_context(task.mixing.silent())
            scored = score_pieces(
                task,
                flat,
                fetch,
                rows=settings.rows,
                length=call_length(flat, rows=settings.rows, border=task.encoder.border),
                device=device,
                progress=count,
            )
        results = iter(scored)
        nats = np.concatenate(
            [
                gather(stretch, group, [next(results) for _ in group])
                for stretch, group in zip(held, pieces, strict=True)
            ]
        )
        bits[arm] = nats * np.float32(BITS_PER_NAT)
        seconds[arm] = time.monotonic() - began
        _log.info("memory %s: scored in %.0f s", arm, seconds[arm])
    return bits, seconds


def call_length(pieces: Sequence[Piece], *, rows: int, border: int) -> int:
    """Choose the tokens of a call: long enough to be worth it, short enough not to be mostly padding.

    A call costs its tokens, padding included, and about as much as `OVERHEAD` tokens on top. Pieces of 60 bases with
    border 16 are read 64 at a time, pieces of a million `CALL` at a time.
    """
    lengths = np.array([piece.stop - piece.start for piece in pieces])
    side_by_side = max(1, min(rows, len(pieces)))
    doubled = [border << power for power in range(max(1, (CALL // border).bit_length()))]
    whole = -(-int(lengths.max()) // border) * border
    candidates = sorted({*doubled, min(whole, max(doubled))})

    def cost(length: int) -> float:
        return float((-(-lengths // length)).sum()) * (length + OVERHEAD / side_by_side)

    return min(candidates, key=cost)
