"""The pictures of forecasts: fans, error by step, calibration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from titans_seq.files import replacing
from titans_seq.timeseries import Names, Panel
from titans_seq.timeseries.writing import MODEL
from titans_seq.training.figures import COLOURS, STYLE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST = 6
_SHADES = {
    "structured": COLOURS["carried"],
    "carried": COLOURS["carried"],
    "reset": COLOURS["reset"],
    "off": COLOURS["off"],
}


def draw_forecast(path: Path, panel: Panel | None, frame: pl.DataFrame, *, names: Names) -> Path:
    """Draw the last rows and the forecast fan of up to six series."""
    ids = frame[names.id].unique(maintain_order=True).to_list()[:_MOST]
    history = _history(panel) if panel is not None else {}
    with _panels(path, len(ids)) as axes:
        for axis, name in zip(axes, ids, strict=True):
            part = frame.filter(pl.col(names.id) == name)
            if name in history:
                ticks, values = history[name]
                shown = 3 * len(part)
                axis.plot(_dates(ticks[-shown:], part[names.time]), values[-shown:], color="#333333", linewidth=1.0)
            _fan(axis, part, names)
            axis.set_title(str(name))
    return path


def draw_windows(path: Path, frame: pl.DataFrame, *, names: Names) -> Path:
    """Draw actual values and fans of the last rolling window of up to six series."""
    last = frame.filter(pl.col("cutoff") == pl.col("cutoff").max().over(names.id))
    ids = last[names.id].unique(maintain_order=True).to_list()[:_MOST]
    with _panels(path, len(ids)) as axes:
        for axis, name in zip(axes, ids, strict=True):
            part = last.filter(pl.col(names.id) == name)
            _fan(axis, part, names)
            axis.plot(part[names.time].to_numpy(), part["y"].to_numpy(), color="#333333", linewidth=1.0, label="actual")
            axis.set_title(f"{name}, last window")
        axes[0].legend(loc="upper left", fontsize=8)
    return path


def draw_steps(path: Path, errors: Mapping[str, NDArray[np.float64]]) -> Path:
    """Draw the mean absolute error of each method against the step ahead."""
    with _panels(path, 1, height=3.2) as (axis,):
        for name, line in errors.items():
            own = name == MODEL
            axis.plot(
                np.arange(1, len(line) + 1), line, label=name, linewidth=1.8 if own else 1.0,
                color=COLOURS["carried"] if own else None, linestyle="-" if own else "--",
            )  # fmt: skip
        axis.set(xlabel="rows ahead", ylabel="mean absolute error (series' deviations)", title="Error by step")
        axis.legend(fontsize=8, ncols=2)
    return path


def draw_calibration(path: Path, wanted: Sequence[float], found: Sequence[float]) -> Path:
    """Draw the share of actual values below each quantile against the share there should be."""
    with _panels(path, 1, height=3.6, width=3.8) as (axis,):
        axis.plot([0, 1], [0, 1], color=COLOURS["baseline"], linewidth=0.8)
        axis.plot(wanted, found, marker="o", markersize=3, color=COLOURS["carried"])
        axis.set(xlabel="quantile", ylabel="share of actual values below", title="Calibration", aspect="equal")
    return path


def _fan(axis: Axes, part: pl.DataFrame, names: Names) -> None:
    x = part[names.time].to_numpy()
    lows = sorted((c for c in part.columns if c.startswith(f"{MODEL}-lo-")), key=lambda c: -float(c.rpartition("-")[2]))
    for low in lows:
        high = low.replace("-lo-", "-hi-")
        if high in part.columns:
            axis.fill_between(
                x, part[low].to_numpy(), part[high].to_numpy(), color=COLOURS["carried"], alpha=0.18, linewidth=0,
                label=f"{low.rpartition('-')[2]} %",
            )  # fmt: skip
    axis.plot(x, part[MODEL].to_numpy(), color=COLOURS["carried"], linewidth=1.4, label="forecast")
    if part[names.time].dtype.is_temporal():
        from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

        locator = AutoDateLocator()
        axis.xaxis.set_major_locator(locator)
        axis.xaxis.set_major_formatter(ConciseDateFormatter(locator))


def _history(panel: Panel) -> dict[str, tuple[NDArray[np.int64], NDArray[np.float64]]]:
    return {
        name: (series.ticks, series.values[:, channel])
        for series in panel
        for channel, name in enumerate(panel.tracks_of(series))
    }


def _dates(ticks: NDArray[np.int64], like: pl.Series) -> NDArray[Any]:
    return ticks.astype("M8[us]") if like.dtype.is_temporal() else ticks


@contextmanager
def _panels(path: Path, count: int, *, height: float = 1.9, width: float = 7.2) -> Iterator[list[Axes]]:
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height * count + 0.6))
        FigureCanvasAgg(figure)
        axes = figure.subplots(count, 1, squeeze=False)
        yield list(axes[:, 0])
        figure.tight_layout()
        with replacing(path) as temporary:
            figure.savefig(temporary, format="png", bbox_inches="tight", metadata={"Software": None})
