"""The pictures of a report: how training went, where the held-out part was hard, what the memory did."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from titans_seq.files import replacing
from titans_seq.metrics import bits_by_window

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Bits = NDArray[np.float32]

COLOURS = {
    "carried": "#0b6e4f",
    "within": "#3aa17e",
    "reset": "#d1495b",
    "off": "#8d6a9f",
    "table off": "#e09f3e",
    "neural off": "#5b8e7d",
    "baseline": "#7a7a7a",
    "line": "#1f4e79",
}
STYLE: dict[Any, Any] = {
    "figure.dpi": 130,
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "legend.frameon": False,
    "svg.hashsalt": "titans-seq",
}


def draw_loss(path: Path, metrics: Sequence[Mapping[str, str]], *, marks: Mapping[str, float]) -> Path:
    """Draw training loss against bases learned from, with horizontal lines for results on the held-out part.

    Parameters
    ----------
    metrics
        Rows of ``metrics.csv``.
    marks
        Bits per base on the held-out part, by label.
    """
    bases = np.array([float(row["bases"]) for row in metrics]) / 1e6
    bits = np.array([float(row["bits_per_base"]) for row in metrics])
    near, far = _split_marks(bits, marks)
    with one_figure(path, size=(7.2, 3.2)) as (_, (axes,)):
        axes.plot(bases, bits, color=COLOURS["line"], alpha=0.25, linewidth=0.8)
        axes.plot(bases, _smooth(bits, max(1, len(bits) // 25)), color=COLOURS["line"], linewidth=1.6)
        for (label, value), style in zip(near.items(), ("-", "--", ":", "-."), strict=False):
            colour = COLOURS["carried" if style == "-" else "baseline"]
            axes.axhline(value, color=colour, linestyle=style, linewidth=1.1)
            axes.annotate(
                f"{label} {value:.3f}", xy=(1, value), xycoords=("axes fraction", "data"), xytext=(4, 0),
                textcoords="offset points", va="center", fontsize=8, annotation_clip=False,
            )  # fmt: skip
        beyond = "".join(f"; {label} {value:.3f} lies outside" for label, value in far.items())
        axes.set(xlabel="bases learned from (millions)", ylabel="bits per base", title=f"Training{beyond}")
        known = np.r_[bits[len(bits) // 20 :], list(near.values())]
        if np.isfinite(known).any():
            margin = 0.05 * (np.nanmax(known) - np.nanmin(known) + 0.01)
            axes.set_ylim(np.nanmin(known) - margin, np.nanmax(known) + margin)
    return path


def _split_marks(bits: NDArray[np.float64], marks: Mapping[str, float]) -> tuple[dict[str, float], dict[str, float]]:
    """Part the marks that fit beside the curve from those that would flatten it."""
    low, high = (np.nanmin(bits), np.nanmax(bits)) if np.isfinite(bits).any() else (0.0, 2.0)
    reach = 2 * (high - low) + 0.05
    near = {label: value for label, value in marks.items() if low - reach <= value <= high + reach}
    return near, {label: value for label, value in marks.items() if label not in near}


def draw_held_out(
    path: Path,
    bits: Mapping[str, Bits],
    *,
    own: Sequence[str],
    others: Sequence[str],
    against: str,
    positions: NDArray[np.int64],
    xlabel: str,
    bins: int = 160,
) -> Path:
    """Draw bits per base along the held-out part, and below it what each arm saves against one of them.

    Parameters
    ----------
    bits
        For each base, by row name.
    own, others
        The arms, drawn in both panels, and the baselines, drawn in the upper one.
    against
        The arm that the lower panel compares with; the panel is left out when there is only one arm.
    positions
        Coordinate of each base, for the axis.
    """
    width = max(1, len(positions) // bins)
    whole = len(positions) // width * width
    centres = positions[:whole].reshape(-1, width).mean(axis=1) / 1000
    means = {name: bits_by_window(bits[name][:whole], window=width) for name in (*own, *others)}
    compared = [name for name in own if name != against] if against in own else []
    rows = 2 if compared else 1
    with one_figure(path, size=(7.2, 2.1 * rows + 1.0), rows=rows) as (figure, axes):
        for name in others:
            axes[0].plot(centres, means[name], label=name, color=COLOURS["baseline"], linewidth=0.9, linestyle="--")
        for name in own:
            axes[0].plot(centres, means[name], label=name, color=COLOURS.get(name, COLOURS["line"]), linewidth=1.2)
        axes[0].set(ylabel="bits per base", title=f"Held-out part, averages of {width:,} bases")
        for name in compared:
            saved = means[against] - means[name]
            axes[1].plot(centres, saved, label=name, color=COLOURS.get(name, COLOURS["line"]), linewidth=1.2)
        if compared:
            axes[1].axhline(0, color=COLOURS[against], linewidth=1.0)
            axes[1].set(ylabel="bits per base", title=f"Saved against the arm '{against}'")
        axes[-1].set_xlabel(xlabel)
        figure.tight_layout()
        lines, names = axes[0].get_legend_handles_labels()
        figure.legend(lines, names, loc="upper center", bbox_to_anchor=(0.5, 0.01), ncols=5, fontsize=8)
    return path


def draw_memory(path: Path, series: Mapping[str, NDArray[Any]], *, start: int, contig: str) -> Path:
    """Draw what the memory did over a stretch: a panel for each quantity, a line for each layer.

    Parameters
    ----------
    series
        By quantity (surprise, learning rate, momentum, forget): values (layers, T).
    start
        Coordinate of the first base.
    """
    rows = len(series)
    with one_figure(path, size=(7.2, 1.5 * rows + 0.6), rows=rows) as (figure, axes):
        for axis, (name, values) in zip(axes, series.items(), strict=True):
            length = values.shape[1]
            width = max(1, length // 256)
            whole = length // width * width
            x = (start + np.arange(0, whole, width) + width / 2) / 1000
            shades = _shades(len(values))
            for layer, (line, shade) in enumerate(zip(values, shades, strict=True)):
                axis.plot(
                    x,
                    line[:whole].reshape(-1, width).mean(axis=1),
                    color=shade,
                    linewidth=1.0,
                    label=f"block {layer + 1}",
                )
            axis.set_title(name)
            axis.ticklabel_format(axis="y", scilimits=(-3, 4), useMathText=True)
        axes[-1].set_xlabel(f"{contig}, thousand bases")
        # Above the panel, at the right, where no line runs.
        axes[0].legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=6, fontsize=8, borderaxespad=0.1)
        figure.tight_layout()
    return path


def _shades(count: int) -> list[Any]:
    import matplotlib

    return list(matplotlib.colormaps["viridis"](np.linspace(0.15, 0.75, max(count, 1))))


def _smooth(values: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Average each value with up to ``width - 1`` before it."""
    sums = np.cumsum(np.r_[0.0, values])
    index = np.arange(1, len(values) + 1)
    first = np.maximum(index - width, 0)
    return (sums[index] - sums[first]) / (index - first)


@contextmanager
def one_figure(path: Path, *, size: tuple[float, float], rows: int = 1) -> Iterator[tuple[Figure, list[Axes]]]:
    """Give a figure in the house style with its panels; it is written to ``path`` when the block ends."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as NewFigure

    with matplotlib.rc_context(STYLE):
        figure = NewFigure(figsize=size)
        FigureCanvasAgg(figure)
        axes = figure.subplots(rows, 1, sharex=rows > 1, squeeze=False)
        yield figure, list(axes[:, 0])
        with replacing(path) as temporary:
            figure.savefig(temporary, format="png", bbox_inches="tight", metadata={"Software": None})
