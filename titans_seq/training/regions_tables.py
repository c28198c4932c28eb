"""The tables of a labelling run, from what ``report.json`` holds of one seed or of several.

Every table is numbers first, so that one seed is shown as they are and several as mean and standard deviation:
``0.991 +- 0.002``; a count that is the same for all is shown once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

Number = float | int | None
Row = tuple[str, list[str]]
Evaluation = Mapping[str, Any]
"""``evaluation`` of a report: ``arms``, ``baselines``, ``plain``."""
PLAIN = "codon counts, no network"
"""What the decoder reaches without a network."""


@dataclass(frozen=True)
class Table:
    """Numbers with a heading for each column and a name for each row."""

    title: str
    heads: Sequence[str]
    rows: Mapping[str, Sequence[Number]]


def tables_of(evaluation: Evaluation, *, memory: str) -> dict[str, Table]:
    """The tables of one seed by name; `memory` is what the network's arms are called by."""
    arms = {f"{memory}, {name}": arm for name, arm in evaluation["arms"].items()}
    plain = evaluation["plain"]
    bases = {**evaluation["baselines"], **{name: arm["classes"] for name, arm in arms.items()}}
    if plain and plain["decoded"]:
        bases[f"{PLAIN}, genes put together"] = plain["decoded"]
    bases |= {f"{name}, genes put together": arm["decoded"] for name, arm in arms.items() if arm["decoded"]}
    spliced = any(arm["exons"] for arm in arms.values())
    return {
        "bases": base_table(bases),
        "genes": exon_table(arms, plain) if spliced else gene_table(arms, plain),
        "runs": run_table(arms),
    }


def base_table(rows: Mapping[str, Sequence[dict[str, Any]]]) -> Table:
    """The mean of F1 over classes, and precision, recall, F1 and MCC of every class."""
    kinds = [row["class"] for row in next(iter(rows.values()))]
    heads = ["macro F1", *(f"{kind} {what}" for kind in kinds for what in ("prec", "rec", "F1", "MCC"))]
    cells = {
        name: [macro_f1(scores), *(row[what] for row in scores for what in ("precision", "recall", "f1", "mcc"))]
        for name, scores in rows.items()
    }
    return Table("bases of each class, both strands", heads, cells)


def gene_table(arms: Mapping[str, Evaluation], plain: Evaluation | None) -> Table:
    """Right stop, precision, exact, agreement of bases."""
    found = {PLAIN: plain} if plain else {}
    found |= {name: arm for name, arm in arms.items() if arm["genes"] is not None}
    keys = ("annotated", "predicted", "stops", "precision", "exact")
    cells = {
        name: [*(scores["genes"][key] for key in keys), scores["coding"].get("mcc")] for name, scores in found.items()
    }
    return Table("genes", ["annotated", "predicted", "stop", "precision", "exact", "coding MCC"], cells)


def exon_table(arms: Mapping[str, Evaluation], plain: Evaluation | None) -> Table:
    """Coding parts with both ends right, and genes with all of them."""
    keys = ("annotated", "predicted", "recall", "precision", "f1", "genes", "genes_predicted", "genes_exact")
    heads = ["parts", "predicted", "recall", "precision", "F1", "genes", "predicted", "exact"]
    found = {**({PLAIN: plain} if plain else {}), **arms}
    cells = {name: [scores["exons"][key] for key in keys] for name, scores in found.items() if scores["exons"]}
    return Table("genes with introns", heads, cells)


def run_table(arms: Mapping[str, Evaluation]) -> Table:
    """The features that `annotate` writes as runs of bases, and how their bases agree."""
    kinds = list(next(iter(arms.values()))["runs"])
    heads = [f"{kind} {what}" for kind in kinds for what in ("runs", "prec", "rec", "F1")]
    keys = ("runs", "precision", "recall", "f1")
    cells = {name: [arm["runs"][kind][key] for kind in kinds for key in keys] for name, arm in arms.items()}
    return Table("runs of bases", heads, cells if kinds else {})


def macro_f1(rows: Sequence[dict[str, Any]]) -> float:
    """The mean of F1 over classes other than "none", 0 for one that is not found."""
    return float(np.mean([row["f1"] or 0.0 for row in rows[:-1]]))


def remarks_of(evaluations: Sequence[Evaluation]) -> list[str]:
    """What the memory is worth, and how far the network is from the best cheap labeller, over all seeds."""
    first = evaluations[0]
    arms = {name: [macro_f1(seed["arms"][name]["classes"]) for seed in evaluations] for name in first["arms"]}
    remarks = []
    for name, words in (("reset", "a memory reset in every block"), ("off", "the same weights with the memory off")):
        if name in arms and "carried" in arms:
            gains = np.subtract(arms["carried"], arms[name]).tolist()
            gain, limit = float(np.mean(gains)), max(_spread(gains) or 0.0, 5e-4)
            verb = "makes no clear difference" if abs(gain) < limit else ("helps" if gain > 0 else "harms")
            remarks.append(f"The carried memory {verb} against {words}: macro F1 {_shown(gains, sign='+')}.")
    cheap = {name: [macro_f1(seed["baselines"][name]) for seed in evaluations] for name in first["baselines"]}
    best = max(cheap, key=lambda name: float(np.mean(cheap[name])), default=None)
    if best is not None:
        own = _shown(next(iter(arms.values())))
        remarks.append(f"Macro F1 {own}; the best cheap labeller of bases ({best}) reaches {_shown(cheap[best])}.")
    return remarks


def together(tables: Sequence[Table]) -> list[Row]:
    """Header and rows of the same table of one seed or of several, each cell over the seeds."""
    first = tables[0]
    rows: list[Row] = [(first.title, list(first.heads))]
    for name in first.rows:
        columns = zip(*(table.rows[name] for table in tables), strict=True)
        rows.append((name, [_shown(values) for values in columns]))
    return rows


def text_lines(table: Sequence[Row]) -> list[str]:
    """Lay a table out as lines."""
    rows = [[name, *cells] for name, cells in table]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    ]
    return [lines[0].rstrip(), "-" * len(lines[0]), *(line.rstrip() for line in lines[1:])]


def as_html(table: Sequence[Row]) -> str:
    """Lay a table out for a page."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in (table[0][0], *table[0][1]))
    body = "".join(
        "<tr><td>" + escape(name) + "</td>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"
        for name, cells in table[1:]
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _shown(values: Iterable[Number], *, sign: str = "") -> str:
    """One number, or mean and standard deviation of several; "-" where none is defined."""
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    if all(isinstance(value, int) for value in known) and len(set(known)) == 1:
        return str(known[0])
    if len(known) == 1:
        return f"{known[0]:{sign}.4f}"
    digits = 1 if all(isinstance(value, int) for value in known) else 3
    return f"{np.mean(known):{sign}.{digits}f} +- {_spread(known):.{digits}f}"


def _spread(values: Sequence[float]) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None
