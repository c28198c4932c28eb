"""From one cost per base to the table of a report: bits per base, by class, and what the memory is worth.

Every row of the table averages the same bases: those that every arm and every baseline has scored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from titans_seq.tasks import BITS_PER_NAT

Nats = NDArray[np.float32]

BLOCK = 1024
"""Bases of the blocks over which a difference's spread is taken: neighbouring bases are not independent."""


def scored_bases(costs: Mapping[str, Nats]) -> NDArray[np.bool_]:
    """Mark the bases that every row has a cost for."""
    return np.all([np.isfinite(values) for values in costs.values()], axis=0)


def table_rows(
    costs: Mapping[str, Nats],
    *,
    scored: NDArray[np.bool_],
    classes: NDArray[np.uint8] | None,
    class_names: Sequence[str],
) -> list[dict[str, Any]]:
    """Average each row over everything and over each class.

    Parameters
    ----------
    costs
        Nats of each held-out base, by row name; the arrays are equally long.
    scored
        The bases that count.
    classes
        Index of each base's class in ``class_names``; None without an annotation.

    Returns
    -------
    list
        ``{"name", "all", "classes": {class: bits}}`` in the order of ``costs``; a class without bases is left out.
    """
    chosen = [] if classes is None else [(name, scored & (classes == i)) for i, name in enumerate(class_names)]
    present = [(name, where) for name, where in chosen if where.any()]
    return [
        {
            "name": name,
            "all": bits(values, scored),
            "classes": {label: bits(values, where) for label, where in present},
        }
        for name, values in costs.items()
    ]


def class_sizes(
    scored: NDArray[np.bool_], *, classes: NDArray[np.uint8] | None, class_names: Sequence[str]
) -> dict[str, int]:
    """Count the scored bases of each class that has any."""
    if classes is None:
        return {}
    counts = np.bincount(classes[scored], minlength=len(class_names))
    return {name: int(count) for name, count in zip(class_names, counts, strict=True) if count}


def bits(values: Nats, where: NDArray[np.bool_]) -> float:
    """Average in bits per base, summed in double precision."""
    return float(values[where].mean(dtype=np.float64) * BITS_PER_NAT)


def difference(first: Nats, second: Nats, *, scored: NDArray[np.bool_]) -> dict[str, float]:
    """Say how much lower ``first`` is than ``second``, with the standard error over blocks of bases.

    Returns
    -------
    dict
        ``gain`` in bits per base (positive: ``first`` is better) and ``error``.
    """
    gain = np.where(scored, second - first, np.nan).astype(np.float64) * BITS_PER_NAT
    whole = len(gain) // BLOCK * BLOCK
    average = float(np.nanmean(gain)) if scored.any() else 0.0
    blocks = gain[:whole].reshape(-1, BLOCK)
    blocks = blocks[np.isfinite(blocks).any(axis=1)]
    if len(blocks) < 2:
        return {"gain": average, "error": 0.0}
    means = np.nanmean(blocks, axis=1)
    return {"gain": average, "error": float(means.std(ddof=1) / np.sqrt(len(means)))}


def verdict(memory: Mapping[str, Mapping[str, float]]) -> str:
    """Say in one sentence whether the memory helped, from its gains over ``reset`` and ``off``.

    A gain counts when it is more than twice its standard error.
    """

    def phrase(arm: str, what: str) -> str:
        gain, error = memory[arm]["gain"], memory[arm]["error"]
        size = f"{abs(gain):.4f} +- {error:.4f} bits per base"
        if abs(gain) <= 2 * error or abs(gain) < 5e-5:
            return f"{what} makes no difference ({gain:+.4f} +- {error:.4f} bits per base)"
        return f"{what} saves {size}" if gain > 0 else f"{what} costs {size}"

    return f"Carrying the memory, against resetting it: {phrase('reset', 'it')}; against no memory: " + phrase(
        "off", "it"
    )
