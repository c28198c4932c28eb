"""The picture of a region: what is annotated, what is predicted, how sure, and how surprised the memory was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from titans_seq.metrics.genes import Interval, PrecisionRecall
from titans_seq.training.figures import COLOURS, one_figure


def draw_strip(
    path: Path,
    *,
    contig: str,
    start: int,
    truth: Sequence[Interval],
    found: Sequence[Interval],
    probability: NDArray[np.float32],
    surprise: NDArray[np.float32],
    kind: str,
) -> Path:
    """Draw features as bars (strand +1 above the line), the probability of each strand, and the memory's surprise.

    Parameters
    ----------
    start
        Coordinate of the first base drawn.
    truth, found
        Features in coordinates of the contig.
    probability
        Of the class `kind` on each strand, [2, T].
    surprise
        Of the memory, one value for each of some equal parts of the stretch; empty without a memory.
    """
    size = probability.shape[1]
    places = (start + np.arange(size)) / 1000
    rows = 3 if surprise.size else 2
    with one_figure(path, size=(9.0, 1.5 * rows + 0.8), rows=rows) as (figure, axes):
        for height, (features, colour) in enumerate(((found, COLOURS["carried"]), (truth, COLOURS["line"]))):
            for left, right, strand in features:
                if left < start + size and right > start:
                    low = height + (0.05 if strand > 0 else -0.35)
                    axes[0].broken_barh(
                        [(left / 1000, (right - left) / 1000)], (low, 0.3), facecolors=colour, alpha=0.8
                    )
            axes[0].axhline(height, color="#999999", linewidth=0.5)
        axes[0].set_yticks([0, 1], ["predicted", "annotated"])
        axes[0].set(ylim=(-0.5, 1.5), title=f"{kind}: strand + above each line, strand - below")
        axes[0].grid(False)
        axes[1].plot(places, probability[0], color=COLOURS["carried"], linewidth=0.9, label="strand +")
        axes[1].plot(places, -probability[1], color=COLOURS["reset"], linewidth=0.9, label="strand -, downwards")
        axes[1].set(ylim=(-1.05, 1.05), title=f"probability of {kind}")
        axes[1].legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, fontsize=8, borderaxespad=0.1)
        if surprise.size:
            step = size / surprise.size
            axes[2].plot(
                (start + step * (np.arange(surprise.size) + 0.5)) / 1000, surprise, color=COLOURS["line"], linewidth=0.9
            )
            axes[2].set_title("surprise of the memory, strand +")
        axes[-1].set(xlabel=f"{contig}, thousand bases", xlim=(places[0], places[-1]))
        figure.tight_layout()
    return path


def draw_curves(path: Path, curves: Mapping[str, PrecisionRecall]) -> Path:
    """Draw precision against recall of every class, base by base."""
    shades = [COLOURS[name] for name in ("carried", "line", "reset", "off", "within", "baseline")]
    with one_figure(path, size=(4.6, 3.6)) as (_, (axes,)):
        for number, (name, curve) in enumerate(curves.items()):
            label = f"{name}, area {curve.area:.3f} (share {curve.prevalence:.2%})"
            axes.plot(curve.recall, curve.precision, color=shades[number % len(shades)], linewidth=1.4, label=label)
        axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall", ylabel="precision", title="Bases of each class")
        axes.legend(loc="lower left", fontsize=8)
    return path
