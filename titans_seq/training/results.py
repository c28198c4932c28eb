"""From one number per base to the table of a report: bits per base, by class, and what the memory is worth.

Every row of the table averages the same bases: those that every arm and every baseline has scored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from titans_seq.metrics import bits_by_class, difference, mean_bits

SMALLEST = 5e-5
"""Differences below this, in bits per base, are nothing whatever their error."""

Bits = NDArray[np.float32]
Classes = NDArray[np.uint8]


def on_common_bases(bits: Mapping[str, Bits]) -> dict[str, Bits]:
    """Leave out, in every row, the bases that some row has no number for."""
    common = np.all([np.isfinite(values) for values in bits.values()], axis=0)
    return {name: np.where(common, values, np.nan).astype(np.float32) for name, values in bits.items()}


def table_rows(
    bits: Mapping[str, Bits], *, classes: Classes | None, class_names: Sequence[str]
) -> list[dict[str, Any]]:
    """Average each row over everything and over each class.

    Parameters
    ----------
    bits
        For each held-out base, by row name; NaN where it does not count.
    classes
        Index of each base's class in ``class_names``; None without an annotation.

    Returns
    -------
    list
        ``{"name", "all", "error", "classes": {class: bits}}`` in the order of ``bits``.
    """
    return [
        {
            "name": name,
            "all": (mean := mean_bits(values)).mean,
            "error": _known(mean.error),
            "classes": {label: part.mean for label, part in _by_class(values, classes, class_names).items()},
        }
        for name, values in bits.items()
    ]


def class_sizes(bits: Bits, *, classes: Classes | None, class_names: Sequence[str]) -> dict[str, int]:
    """Count the bases of each class that has any."""
    return {name: part.bases for name, part in _by_class(bits, classes, class_names).items()}


def gain(arm: Bits, other: Bits) -> dict[str, float | None]:
    """Say how many bits per base ``arm`` saves against ``other``, with the standard error over blocks of bases."""
    found = difference(other, arm)
    return {"gain": found.mean, "error": _known(found.error)}


def verdict(memory: Mapping[str, Mapping[str, float | None]]) -> str:
    """Say in one sentence whether the memory helped, from its gains over ``reset`` and ``off``.

    A gain counts when it is more than twice its standard error, and more than `SMALLEST`.
    """
    return (
        f"The carried memory {_phrase(memory['reset'])} against a memory reset in every window, and "
        f"{_phrase(memory['off'])} against the same weights with the memory off."
    )


def _phrase(found: Mapping[str, float | None]) -> str:
    size, error = found["gain"] or 0.0, found["error"]
    if error is None:
        return f"differs by {size:+.4f} bits per base (too few bases for an error)"
    if abs(size) <= max(2 * error, SMALLEST):
        return f"makes no difference ({size:+.4f} +- {error:.4f} bits per base)"
    return f"{'saves' if size > 0 else 'costs'} {abs(size):.4f} +- {error:.4f} bits per base"


def _by_class(bits: Bits, classes: Classes | None, class_names: Sequence[str]) -> dict[str, Any]:
    return {} if classes is None else bits_by_class(bits, classes, names=class_names)


def _known(value: float) -> float | None:
    return value if np.isfinite(value) else None
