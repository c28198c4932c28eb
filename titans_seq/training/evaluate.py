"""Score a trained model on the held-out part in every arm, and say what each took."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext

import numpy as np
import torch

from titans_seq.config.sections import EvaluationSection
from titans_seq.tasks import BITS_PER_NAT, NextBase, score_pieces
from titans_seq.tasks.scoring import Fetch
from titans_seq.training.arms import ARMS, Costs, Held, gather, pieces_of

_log = logging.getLogger(__name__)

CALL = 4096
"""Tokens of one call where a stream is long; rounded down to the encoder's border."""


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

        with task.encoder.memory_off() if arm == "off" else nullcontext():
            scored = score_pieces(
                task,
                flat,
                fetch,
                rows=settings.rows,
                length=_call_length(arm, settings=settings, border=task.encoder.border),
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


def _call_length(arm: str, *, settings: EvaluationSection, border: int) -> int:
    """Tokens of a call: a whole window where there are many, a long stretch where there is one."""
    if arm == "reset":
        return settings.window + settings.lead_in
    return max(border, min(CALL, settings.piece) // border * border)
