"""Tables and the picture of what `tests.benchmarks.recall` measured: `python -m tests.benchmarks.recall_table`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from titans_seq import memory_names

RESULTS = Path(__file__).parent / "results"
CHANCE = 1 / 32
SETS = {"low": "forgetting starts at 1e-6 per token", "high": "forgetting starts at 1e-2 per token"}
LONGER = "long"
"""Of runs that were trained for longer, drawn thick beside the first set."""


def load(which: str) -> list[dict[str, Any]]:
    paths = sorted(RESULTS.glob(f"recall-{which}-*.json"))
    return [json.loads(path.read_text()) | {"longer": which == LONGER} for path in paths]


def table(runs: list[dict[str, Any]]) -> str:
    """Accuracy by distance, and by number of pairs at distance 512; a dash where a run had ended at chance."""
    gaps = sorted({row["gap"] for run in runs for row in run["gaps"]})
    counts = sorted({row["pairs"] for run in runs for row in run["pairs"]})
    head = ["memory", "trained to", *(f"{g:,}" for g in gaps), *(f"{n} pairs" for n in counts), "off"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for run in runs:
        at = {row["gap"]: row["on"] for row in run["gaps"]}
        by = {row["pairs"]: row["on"] for row in run["pairs"]}
        cells = [f"{at[g]:.2f}" if g in at else "-" for g in gaps]
        cells += [f"{by[n]:.2f}" if n in by else "-" for n in counts]
        off = max(row["off"] for row in run["gaps"])
        lines.append("| " + " | ".join([run["memory"], f"{run['reach']:,}", *cells, f"{off:.2f}"]) + " |")
    return "\n".join(lines)


def draw(axes: Axes, runs: list[dict[str, Any]], title: str) -> None:
    """One curve per memory, in the same colour on every panel."""
    names = memory_names()
    for run in runs:
        i = names.index(run["memory"])
        x, y = [row["gap"] for row in run["gaps"]], [row["on"] for row in run["gaps"]]
        label = f"{run['memory']}, gaps to {run['reach']:,}" if run["longer"] else run["memory"]
        axes.plot(
            x, y, marker="o", ms=3, lw=3.0 if run["longer"] else 1.5, color=f"C{i % 10}", ls="-" if i < 10 else "--",
            label=label,
        )  # fmt: skip
    axes.axhline(CHANCE, color="0.6", lw=1, ls=":", label="chance")
    axes.set(xscale="log", ylim=(0, 1.03), xlabel="tokens between the pairs and the question", title=title)
    axes.spines[["top", "right"]].set_visible(False)


def main() -> None:
    plt.switch_backend("agg")
    figure, panels = plt.subplots(1, len(SETS), figsize=(12, 4), sharey=True, layout="constrained")
    for axes, (which, title) in zip(panels, SETS.items(), strict=True):
        runs = load(which) + (load(LONGER) if which == "low" else [])
        if runs:
            print(f"{title}\n\n{table(runs)}\n")
            draw(axes, runs, title)
    panels[0].set_ylabel("share of 8 pairs recalled")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", fontsize=8, frameon=False)
    figure.savefig(RESULTS / "recall.png", dpi=110)


if __name__ == "__main__":
    main()
