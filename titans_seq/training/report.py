"""A run's report: one JSON object, and the same as text and as a page.

``report.json`` is what everything else is made from; `report_text` prints it, `titans_seq.training.page` draws it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from titans_seq.config import read_text
from titans_seq.errors import InputFileError
from titans_seq.files import read_json

FORMAT_VERSION = 1
_RESUMABLE = ("train-dna", "train-regions", "train-classifier")

ARM_NOTES = {
    "carried": "memory carried from the start of the contig",
    "within": "memory carried within the held-out part",
    "reset": "memory reset every {window} bases",
    "off": "reads of the memory are zero",
    "table off": "carried, without the table: the neural memory's share",
    "neural off": "carried, without the neural memory: the table's share",
    "no memory": "an encoder without a memory",
}


def read_report(run: Path) -> dict[str, Any]:
    """Read the report of a run folder, or say what is missing."""
    if not run.is_dir():
        raise InputFileError(run, problem="no such run folder", hint="the `titans-seq train-...` commands make them")
    path = run / "report.json"
    if not path.exists():
        command = _command(run)
        if command is None:
            raise InputFileError(run, problem="holds no report.json: no run of titans-seq, or none with a report")
        raise InputFileError(
            run,
            problem="holds no report.json: the run has not finished",
            hint=f"titans-seq {command} --resume --out {run}" if command in _RESUMABLE else "run it again",
        )
    report = read_json(path)
    if not isinstance(report, dict) or report.get("format_version") != FORMAT_VERSION:
        raise InputFileError(path, expected=f"report format {FORMAT_VERSION}", found="another one")
    return report


def _command(run: Path) -> str | None:
    """The command that made a run folder, by the first key of its configuration; None for any other folder."""
    config = run / "config.yaml"
    found = re.search(r"^pipeline: *(\w+)", read_text(config), re.MULTILINE) if config.exists() else None
    return found[1].replace("_", "-") if found else None


def report_text(report: dict[str, Any]) -> str:
    """Lay a report out as lines of at most about 110 columns; a report may bring its own as ``text``."""
    if "text" in report:
        return "\n".join(report["text"])
    genome, training, evaluation = report["genome"], report["training"], report["evaluation"]
    runtime = report["runtime"]
    lines = [
        f"{genome['contigs']} contig{'s' if genome['contigs'] != 1 else ''}, {genome['bases']:,} bases; "
        f"{evaluation['bases']:,} held-out bases scored",
        f"{report['model']['parameters']:,} parameters; {training['bases']:,} bases in {training['steps']:,} steps and "
        f"{training['seconds'] / 60:.1f} min",
        f"{training['bases_per_second']:,.0f} bases/s on {runtime['device']}, {runtime['precision']}, "
        f"{runtime['threads']} threads; peak RAM {training['peak_ram_mb']:,.0f} MB",
        "",
        *table_lines(evaluation),
        "",
        *evaluation["remarks"],
    ]
    return "\n".join(lines)


def table_lines(evaluation: dict[str, Any]) -> list[str]:
    """Lay out the table of bits per base: a line for each row, a column for each class."""
    classes = list(evaluation["classes"])
    header = ["bits per base (lower is better)", "all", *classes]
    body = [_cells(row, classes) for row in evaluation["rows"]]
    sizes = ["bases", f"{evaluation['bases']:,}", *(f"{evaluation['classes'][name]:,}" for name in classes)]
    widths = [max(len(line[i]) for line in (header, sizes, *body)) for i in range(len(header))]

    def line(cells: list[str]) -> str:
        padded = [cells[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(cells[1:], widths[1:]))]  # noqa: B905
        return "  ".join(padded).rstrip()

    rule = "-" * len(line(header))
    lines = [line(header), line(sizes), rule]
    group = None
    for row, cells in zip(evaluation["rows"], body, strict=True):
        if group is not None and row["group"] != group:
            lines.append(rule)
        group = row["group"]
        lines.append(line(cells))
    return lines


def _cells(row: dict[str, Any], classes: list[str]) -> list[str]:
    return [row["label"], f"{row['all']:.4f}", *(f"{row['classes'].get(name, float('nan')):.4f}" for name in classes)]
