"""Scores of every table, setting and method as one table, intervals as another, a picture, and a page of both."""

from datetime import UTC, datetime
from html import escape
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import polars as pl
import yaml

from titans_seq import __version__
from titans_seq.files import read_json, replacing, write_text
from titans_seq.training.page import plain_page

METRICS = ("mae", "mse", "rmse", "mase", "smape")


def as_html(frame: pl.DataFrame) -> str:
    """A table, numbers with four figures."""
    shown = [[f"{cell:.4g}" if isinstance(cell, float) else escape(str(cell)) for cell in row] for row in frame.rows()]
    head = "".join(f"<th>{escape(name)}</th>" for name in frame.columns)
    return (
        f"<table><tr>{head}</tr>"
        + "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in shown)
        + "</table>"
    )


scores, intervals, verdicts = [], [], []
for path in map(Path, snakemake.input):
    report, place = read_json(path), {"data": path.parts[-3], "setting": path.parts[-2]}
    scores += [{**place, "method": row["name"], **{name: row[name] for name in METRICS}} for row in report["rows"]]
    intervals += [{**place, "wql": report["wql"], **row} for row in report["intervals"]]
    verdicts.append(f"{place['data']}, {place['setting']}: {report['verdict']}")
scores, intervals = pl.DataFrame(scores), pl.DataFrame(intervals)
for frame, out in ((scores, snakemake.output.scores), (intervals, snakemake.output.intervals)):
    with replacing(Path(out)) as temporary:
        frame.write_csv(temporary)

names = scores.select("data", "setting").unique(maintain_order=True).rows()
methods = scores["method"].unique(maintain_order=True).to_list()
figure, axes = plt.subplots(figsize=(8, 1.5 + 0.4 * len(names)), layout="constrained")
for method in methods:
    mine = {(row["data"], row["setting"]): row["mase"] for row in scores.filter(method=method).to_dicts()}
    marked = {"marker": "D", "color": "black", "zorder": 3} if method == "titans" else {"marker": "o", "alpha": 0.6}
    places = [index for index, name in enumerate(names) if name in mine]
    axes.scatter([mine[names[index]] for index in places], places, s=22, label=method, **marked)
axes.set_yticks(range(len(names)), [", ".join(name) for name in names])
axes.set(xlabel="MASE (1: as good as the seasonal naive on the training rows)", ylim=(-0.5, len(names) - 0.5))
axes.invert_yaxis()
axes.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1, 1))
with replacing(Path(snakemake.output.picture)) as temporary:
    figure.savefig(temporary, format="png", dpi=130)

write_text(
    Path(snakemake.output.page),
    plain_page(
        title="forecast_panel",
        subtitle=f"{scores['data'].n_unique()} tables, {scores['setting'].n_unique()} settings",
        remarks=verdicts,
        heading="Scores",
        table=as_html(scores) + "<h2>Intervals</h2>" + as_html(intervals),
        pictures={"MASE by table, setting and method": Path(snakemake.output.picture)},
        facts=(),
        config=yaml.safe_dump(snakemake.config, sort_keys=False),
        version=__version__,
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    ),
)
