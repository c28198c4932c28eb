"""Put together what a labelling run found: tables, pictures, remarks, and the model's file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from titans_seq import __version__
from titans_seq.config import dump_config
from titans_seq.files import write_json, write_text
from titans_seq.metrics.genes import PrecisionRecall, precision_recall
from titans_seq.tasks.base_labels import BaseLabels
from titans_seq.tasks.gene_calls import ContigScores, GeneCaller
from titans_seq.tasks.label_scan import scan
from titans_seq.tasks.run_calls import RunRule, runs_of_class
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
from titans_seq.training.regions_tables import as_html, remarks_of, tables_of, text_lines, together
from titans_seq.training.report import FORMAT_VERSION
from titans_seq.training.runtime import Runtime


def save_model(job: RegionsJob, task: BaseLabels, caller: Caller | None, rules: Mapping[str, RunRule]) -> Path:
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
        "runs": json.dumps({kind: {"offset": rule.offset, "penalty": rule.penalty} for kind, rule in rules.items()}),
    }
    tensors = {f"task/{name}": value for name, value in task.state_dict().items()}
    letters = {kind: rule.letters for kind, rule in rules.items() if rule.letters is not None}
    tensors |= {f"runs/{kind}": torch.from_numpy(table) for kind, table in letters.items()}
    if caller is not None:
        tables = vars(caller.codons) if isinstance(caller, GeneCaller) else _spliced_tables(caller)
        tensors |= {f"codons/{name}": torch.from_numpy(values) for name, values in tables.items()}
        if isinstance(caller, GeneCaller) and caller.sites is not None:
            tensors |= {f"sites/{name}": torch.from_numpy(values) for name, values in vars(caller.sites).items()}
    save_tensors(path, tensors, metadata=words)
    return path


def _spliced_tables(caller: SplicedCaller) -> dict[str, NDArray[np.float32]]:
    return {"hexamers": caller.hexamers, "introns": caller.introns.hexamers}


def build_report(
    job: RegionsJob,
    *,
    task: BaseLabels,
    progress: Progress,
    runtime: Runtime,
    arms: Mapping[str, ArmScores],
    baselines: Mapping[str, Sequence[dict[str, Any]]],
    plain: dict[str, Any] | None,
) -> dict[str, Any]:
    """Give everything that ``report.json`` holds.

    Parameters
    ----------
    baselines
        Rows of `class_scores` by name.
    plain
        See `titans_seq.training.regions_baselines.plain_scores`.
    """
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
            "plain": plain,
            "min_gene": job.config.evaluation.min_gene,
        },
    }
    return with_tables(report, [report["evaluation"]], memory=job.config.model.memory_label)


def with_tables(report: dict[str, Any], evaluations: Sequence[dict[str, Any]], *, memory: str) -> dict[str, Any]:
    """Add ``tables``, ``remarks`` and ``text`` to a report, over the evaluations of all its seeds."""
    numbers = [tables_of(evaluation, memory=memory) for evaluation in evaluations]
    tables = {name: together([seed[name] for seed in numbers]) for name in numbers[0]}
    remarks = remarks_of(evaluations)
    parts, training = report["parts"], report["training"]
    report["remarks"], report["tables"] = remarks, tables
    report["text"] = [
        f"{file_names(report)}: {parts['train']['bases']:,} bases to train, {parts['fit']['bases']:,} for the decoder, "
        f"{parts['valid']['bases']:,} held out",
        f"{report['model']['parameters']:,} parameters; {training['steps']:,} steps, "
        f"{training['seconds'] / 60:.1f} min on {report['runtime']['device']}",
        "",
        *text_lines(tables["bases"]),
        "",
        *(text_lines(tables["genes"]) if len(tables["genes"]) > 1 else []),
        "",
        *([*text_lines(tables["runs"]), ""] if len(tables["runs"]) > 1 else []),
        *remarks,
    ]
    return report


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
    write_pages(job, report, tables=html_tables(report), pictures=pictures)


def write_pages(job: RegionsJob, report: dict[str, Any], *, tables: str, pictures: Mapping[str, Path]) -> None:
    """Write ``report.html`` and, last, ``report.json``."""
    page = plain_page(
        title=f"train-regions: {file_names(report)}",
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


def html_tables(report: Mapping[str, Any]) -> str:
    """The tables of a report that have rows."""
    return "".join(as_html(table) for table in report["tables"].values() if len(table) > 1)


def file_names(report: Mapping[str, Any]) -> str:
    """The genomes of a run."""
    return ", ".join(Path(pair[0]).name for pair in report["files"])


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
        called = as_intervals(caller.genes(tokens, part) if caller else runs_of_class(tokens, part, job.scheme, kind))
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
