"""Two pictures of a classifier: who is taken for whom, and precision against recall."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from titans_seq.metrics.classification import precision_recall
from titans_seq.training.figures import COLOURS, one_figure

_MOST_CLASSES = 30
_NUMBERED = 12


def draw_confusion(path: Path, counts: NDArray[np.int64], *, classes: Sequence[str]) -> Path:
    """Draw true class (rows) against predicted class (columns); shades are shares of the row.

    More than thirty classes are drawn without their names.
    """
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    size = float(np.clip(1.6 + 0.55 * len(classes), 2.8, 7.0))
    with one_figure(path, size=(size + 0.6, size)) as (_, (axes,)):
        axes.imshow(shares, cmap="Greens", vmin=0, vmax=1)
        axes.grid(False)
        if len(classes) <= _MOST_CLASSES:
            axes.set_xticks(range(len(classes)), classes, rotation=45 if len(classes) > 3 else 0)
            axes.set_yticks(range(len(classes)), classes)
        if len(classes) <= _NUMBERED:
            for (row, column), count in np.ndenumerate(counts):
                colour = "white" if shares[row, column] > 0.6 else "black"
                axes.text(column, row, f"{count:,}", ha="center", va="center", color=colour, fontsize=8)
        axes.set(xlabel="predicted", ylabel="true", title="Test sequences")
    return path


def draw_precision_recall(
    path: Path, labels: NDArray[np.int64], predictions: Mapping[str, NDArray[np.float64]], *, classes: Sequence[str]
) -> Path:
    """Draw precision against recall of the positive class (of every class, where there are more than two).

    Parameters
    ----------
    predictions
        Probabilities [N, C] by name; the first is drawn in full lines, the others dashed.
    """
    chosen = [len(classes) - 1] if len(classes) == 2 else range(min(len(classes), 6))
    shades = [COLOURS[name] for name in ("carried", "line", "reset", "off", "within", "baseline")]
    with one_figure(path, size=(4.6, 3.6)) as (_, (axes,)):
        for style, (name, probabilities) in zip(("-", "--", ":"), predictions.items(), strict=False):
            for label, shade in zip(chosen, shades, strict=False):
                if not (labels == label).any():
                    continue
                recall, precision = precision_recall(labels, probabilities, label=label)
                shown = f"{name}, {classes[label]}" if len(classes) > 2 else name
                axes.plot(recall, precision, linestyle=style, color=shade, linewidth=1.3, label=shown)
        for label, shade in zip(chosen, shades, strict=False):
            axes.axhline(float((labels == label).mean()), color=shade, linewidth=0.6, alpha=0.5)
        title = f"Class {classes[-1]!r}; the thin line is its share" if len(classes) == 2 else "By class"
        axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02), title=title)
        axes.legend(loc="lower left", fontsize=8)
    return path
