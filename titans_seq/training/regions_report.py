"""Put together what a labelling run found: two tables, pictures, remarks, and the model's file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import torch

from titans_seq import __version__
from titans_seq.config import dump_config
from titans_seq.files import write_json, write_text
from titans_seq.metrics.genes import PrecisionRecall, precision_recall
from titans_seq.tasks.base_labels import BaseLabels
from titans_seq.tasks.gene_calls import ContigScores, GeneCaller, runs_of_class
from titans_seq.tasks.label_scan import scan
from titans_seq.tasks.spliced_calls import SplicedCaller
from titans_seq.tensor_files import save_tensors
from titans_seq.training.checkpoint import Progress
from titans_seq.training.classifier_figures import draw_confusion
from titans_seq.training.loop import peak_ram_mb
from titans_seq.training.page import plain_page
from titans_seq.training.regions_decoder import Caller, class_truth
from titans_seq.training.regions_evaluate import ArmScores, as_intervals, scores_of
from titans_seq.training.regions_figures import draw_curves, draw_strip
from titans_seq.training.regions_job import RegionsJob
from titans_seq.training.report import FORMAT_VERSION
from titans_seq.training.runtime import Runtime

Row = tuple[str, list[str]]
NOTES = {
    "carried": "memory carried up to and along the held-out part",
    "reset": "memory reset in every block",
    "off": "reads of the memory are zero",
}


def save_model(job: RegionsJob, task: BaseLabels, caller: Caller | None, offsets: Mapping[str, float]) -> Path:
    """Write the weights, with the configuration and the decoder's weights inside."""
    decoder = None
    if isinstance(caller, SplicedCaller):
        decoder = caller.to_json()
    elif caller is not None and caller.weights is not None:
        decoder = caller.weights.to_json()
    path = job.out / "model.safetensors"
    words = {
        "format_version": "1",
        "titans_seq": __version__,
        "config": dump_config(job.config),
        "decoder": json.dumps(decoder),
        "offsets": json.dumps(dict(offsets)),
    }
    tensors = {f"task/{name}": value for name, value in task.state_dict().items()}
    if caller is not None:
        tables = {"hexamers": caller.hexamers} if isinstance(caller, SplicedCaller) else vars(caller.codons)
        tensors |= {f"codons/{name}": torch.from_numpy(values) for name, values in tables.items()}
        if isinstance(caller, GeneCaller) and caller.sites is not None:
            tensors |= {f"sites/{name}": torch.from_numpy(values) for name, values in vars(caller.sites).items()}
    save_tensors(path, tensors, metadata=words)
    return path


def build_report(
    job: RegionsJob,
    *,
    task: BaseLabels,
    progress: Progress,
    runtime: Runtime,
    arms: Mapping[str, ArmScores],
    baselines: Mapping[str, Sequence[dict[str, Any]]],
    plain: tuple[Any, Mapping[str, Any]] | None,
) -> dict[str, Any]:
    """Give everything that ``report.json`` holds.

    Parameters
    ----------
    baselines
        Rows of `class_scores` by name.
    plain
        Genes of the plain scorer: `GeneScores` and the agreement of bases.
    """
    labels = {f"{job.config.model.memory}, {name}": scores for name, scores in arms.items()}
    report: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "kind": "train_regions",
        "titans_seq": __version__,
        "created": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "seed": job.config.run.seed,
        "files": job.inputs["files"],
        "genome": job.genome.summary(),
        "parts": job.parts.to_json(),
        "model": {"parameters": sum(p.numel() for p in task.parameters()), **job.config.model.arguments()},
        "runtime": runtime.describe(),
        "training": {
            "steps": progress.step,
            "labels": progress.targets,
            "skipped": progress.skipped,
            "seconds": round(progress.seconds, 1),
            "peak_ram_mb": round(peak_ram_mb(), 1),
        },
        "evaluation": {
            "arms": {name: scores.to_json() for name, scores in arms.items()},
            "baselines": {name: list(rows) for name, rows in baselines.items()},
            "plain": None if plain is None else {"genes": plain[0].to_json(), "coding": dict(plain[1])},
            "min_gene": job.config.evaluation.min_gene,
        },
    }
    bases = class_table({**baselines, **{name: scores.classes for name, scores in labels.items()}})
    genes = exon_rows(labels) if job.decode == "spliced" else gene_rows(labels, report["evaluation"]["plain"])
    runs = run_rows(labels)
    remarks = _remarks(job, arms, baselines)
    report["remarks"] = remarks
    parts = report["parts"]
    report["text"] = [
        f"{', '.join(Path(pair[0]).name for pair in job.inputs['files'])}: {parts['train']['bases']:,} bases to train, "
        f"{parts['fit']['bases']:,} for the decoder, {parts['valid']['bases']:,} held out",
        f"{report['model']['parameters']:,} parameters; {progress.step:,} steps, {progress.seconds / 60:.1f} min on "
        f"{runtime.describe()['device']}",
        "",
        *_lines(bases),
        "",
        *(_lines(genes) if len(genes) > 1 else []),
        "",
        *([*_lines(runs), ""] if len(runs) > 1 else []),
        *remarks,
    ]
    report["tables"] = {"bases": bases, "genes": genes, "runs": runs}
    return report


def class_table(rows: Mapping[str, Sequence[dict[str, Any]]]) -> list[Row]:
    """Header and rows: the mean of F1 over classes, and precision, recall, F1 and MCC of every class."""
    kinds = [row["class"] for row in next(iter(rows.values()))]
    head = [f"{kind} {what}" for kind in kinds for what in ("prec", "rec", "F1", "MCC")]
    table: list[Row] = [("bases of each class, both strands", ["macro F1", *head])]
    for name, scores in rows.items():
        cells = [macro_f1(scores), *(row[what] for row in scores for what in ("precision", "recall", "f1", "mcc"))]
        table.append((name, [_number(value) for value in cells]))
    return table


def macro_f1(rows: Sequence[dict[str, Any]]) -> float:
    """The mean of F1 over classes other than "none", 0 for one that is not found."""
    return float(np.mean([row["f1"] or 0.0 for row in rows[:-1]]))


def gene_rows(arms: Mapping[str, ArmScores], plain: Mapping[str, Any] | None) -> list[Row]:
    """Header and rows: right stop, precision, exact, agreement of bases."""
    table: list[Row] = [("genes", ["annotated", "predicted", "stop", "precision", "exact", "coding MCC"])]
    found = [("codon counts, no network", plain)] if plain else []
    found += [(name, scores.to_json()) for name, scores in arms.items() if scores.genes is not None]
    for name, scores in found:
        genes, coding = scores["genes"], scores["coding"]
        shares = [_number(genes[key]) for key in ("stops", "precision", "exact")]
        table.append((name, [str(genes["annotated"]), str(genes["predicted"]), *shares, _number(coding.get("mcc"))]))
    return table


def run_rows(arms: Mapping[str, ArmScores]) -> list[Row]:
    """Header and rows: the features that `annotate` writes as runs of bases, and how their bases agree."""
    kinds = list(next(iter(arms.values())).runs)
    head = [f"{kind} {what}" for kind in kinds for what in ("runs", "prec", "rec", "F1")]
    table: list[Row] = [("runs of bases", head)]
    for name, scores in arms.items() if kinds else ():
        cells = []
        for kind in kinds:
            found = scores.runs[kind]
            cells += [str(found["runs"]), *(_number(found[key]) for key in ("precision", "recall", "f1"))]
        table.append((name, cells))
    return table


def exon_rows(arms: Mapping[str, ArmScores]) -> list[Row]:
    """Header and rows: coding parts with both ends right, and genes with all of them."""
    table: list[Row] = [
        ("genes with introns", ["parts", "predicted", "recall", "precision", "F1", "genes", "predicted", "exact"])
    ]
    for name, scores in arms.items():
        if found := scores.exons:
            parts = [_number(found[key]) for key in ("recall", "precision", "f1")]
            genes = [str(found["genes"]), str(found["genes_predicted"]), _number(found["genes_exact"])]
            table.append((name, [str(found["annotated"]), str(found["predicted"]), *parts, *genes]))
    return table


def write_report(
    job: RegionsJob,
    report: dict[str, Any],
    *,
    task: BaseLabels,
    arms: Mapping[str, ArmScores],
    scores: Sequence[ContigScores],
    caller: Caller | None,
) -> None:
    """Write the pictures, the page and, last, ``report.json``; `scores` are those of the first arm."""
    pictures = {"A region": _strip(job, task, scores[0], caller)}
    names = ("none", *job.scheme.classes)
    pictures["Classes"] = draw_confusion(job.out / "confusion.png", next(iter(arms.values())).pairs, classes=names)
    pictures["Precision and recall"] = draw_curves(job.out / "precision_recall.png", _curves(job, scores))
    report["pictures"] = [path.name for path in pictures.values()]
    tables = "".join(_html(table) for table in report["tables"].values() if len(table) > 1)
    page = plain_page(
        title=f"train-regions: {', '.join(Path(pair[0]).name for pair in job.inputs['files'])}",
        subtitle=report["text"][0],
        remarks=report["remarks"],
        heading="The held-out part",
        table=tables,
        pictures=pictures,
        facts=[("parameters", f"{report['model']['parameters']:,}"), ("training", report["text"][1])],
        config=dump_config(job.config),
        version=report["titans_seq"],
        created=report["created"],
    )
    write_text(job.out / "report.html", page)
    write_json(job.out / "report.json", report)


def _curves(job: RegionsJob, scores: Sequence[ContigScores]) -> dict[str, PrecisionRecall]:
    classes = np.array(job.scheme.class_of_state)
    truth = [class_truth(job, stretch) for stretch in job.parts.valid]
    known = np.concatenate([part.ravel() >= 0 for part in truth])
    curves = {}
    for number, kind in enumerate(job.scheme.classes, start=1):
        p = np.concatenate([scores_of(part, np.flatnonzero(classes == number)).ravel() for part in scores])
        real = np.concatenate([part.ravel() == number for part in truth])
        curves[kind] = precision_recall(real[known], np.nan_to_num(p[known]))
    return curves


def _strip(job: RegionsJob, task: BaseLabels, scores: ContigScores, caller: Caller | None) -> Path:
    """The beginning of the first held-out stretch, in whole blocks."""
    stretch, length = job.parts.valid[0], job.config.blocks.length
    size = min(max(job.config.evaluation.stretch, 1), len(stretch))
    kind = job.scheme.classes[0]
    states = np.flatnonzero(np.array(job.scheme.class_of_state) == 1)
    part = ContigScores(scores.states[:, :size], scores.sites[:, :size])
    tokens = job.genome.tokens(stretch.contig, stretch.start, stretch.start + size)
    if isinstance(caller, SplicedCaller):
        called = [part for gene in caller.genes(tokens, part) for part in gene.coding_parts]
    else:
        called = as_intervals(caller.genes(tokens, part) if caller else runs_of_class(part, job.scheme, kind))
    truth = job.tracks[stretch.contig].states[:, stretch.start : stretch.start + size]
    runs = []
    for row, strand in enumerate((1, -1)):
        edges = np.flatnonzero(np.diff(np.r_[0, np.isin(truth[row], states).astype(np.int8), 0]))
        runs += [(int(a) + stretch.start, int(b) + stretch.start, strand) for a, b in edges.reshape(-1, 2)]
    genes = job.genes[stretch.contig].whole if isinstance(caller, GeneCaller) else tuple(runs)
    return draw_strip(
        job.out / "region.png",
        contig=stretch.contig,
        start=stretch.start,
        truth=genes,
        found=[(a + stretch.start, b + stretch.start, strand) for a, b, strand in called],
        probability=np.nan_to_num(scores_of(part, states)),
        surprise=_surprise(job, task, tokens, length),
        kind=kind,
    )


@torch.no_grad()
def _surprise(job: RegionsJob, task: BaseLabels, tokens: Any, length: int) -> Any:
    """Mean over layers of the memory's surprise at each patch of strand +1, blocks laid end to end."""
    if not task.encoder.memories():
        return np.empty(0, dtype=np.float32)
    with task.encoder.record() as readings:
        for _ in scan(task, tokens, length=length):
            pass
    first, stop = task.margin // task.patch, (task.margin + length) // task.patch
    layers = []
    for memory in readings:
        values = [reading.surprise for reading in memory if reading.surprise is not None]
        if values:  # row 0 is strand +; heads are averaged
            layers.append(torch.cat([value.float()[0].mean(0)[first:stop] for value in values]).cpu().numpy())
    if not layers:
        return np.empty(0, dtype=np.float32)
    return np.mean(layers, axis=0)[: tokens.size // task.patch].astype(np.float32)


def _remarks(
    job: RegionsJob, arms: Mapping[str, ArmScores], baselines: Mapping[str, Sequence[dict[str, Any]]]
) -> list[str]:
    own = macro_f1(next(iter(arms.values())).classes)
    remarks = []
    for name, words in (("reset", "a memory reset in every block"), ("off", "the same weights with the memory off")):
        if name in arms and "carried" in arms:
            gain = macro_f1(arms["carried"].classes) - macro_f1(arms[name].classes)
            verb = "makes no difference" if abs(gain) < 5e-4 else ("helps" if gain > 0 else "harms")
            remarks.append(f"The carried memory {verb} against {words}: macro F1 {gain:+.4f}.")
    best = max(baselines, key=lambda name: macro_f1(baselines[name]), default=None)
    if best is not None:
        remarks.append(
            f"Macro F1 {own:.4f}; the best cheap labeller of bases ({best}) reaches {macro_f1(baselines[best]):.4f}."
        )
    return remarks


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _lines(table: Sequence[Row]) -> list[str]:
    rows = [[name, *cells] for name, cells in table]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    ]
    return [lines[0].rstrip(), "-" * len(lines[0]), *(line.rstrip() for line in lines[1:])]


def _html(table: Sequence[Row]) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in (table[0][0], *table[0][1]))
    body = "".join(
        "<tr><td>" + escape(name) + "</td>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"
        for name, cells in table[1:]
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
