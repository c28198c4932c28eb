"""The report of a classifier: one JSON object, the same as lines and as a page, two pictures, the predictions."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from titans_seq import __version__
from titans_seq.config import dump_config
from titans_seq.files import write_json, write_text
from titans_seq.metrics.classification import SCORES, confusion
from titans_seq.metrics.split_audit import audit_split, verdict
from titans_seq.tasks.classify import SequenceClassifier
from titans_seq.tensor_files import save_tensors
from titans_seq.training.checkpoint import Progress
from titans_seq.training.classifier_figures import draw_confusion, draw_precision_recall
from titans_seq.training.classifier_job import ClassifierJob
from titans_seq.training.classifier_scores import (
    CHEAP,
    OWN,
    TOGETHER,
    Predictions,
    best_row,
    memory_gains,
    plain,
    table_rows,
)
from titans_seq.training.loop import peak_ram_mb
from titans_seq.training.page import plain_page
from titans_seq.training.report import FORMAT_VERSION
from titans_seq.training.runtime import Runtime

HEADS = {"accuracy": "accuracy", "mcc": "MCC", "macro_f1": "macro F1", "auroc": "AUROC", "auprc": "AUPRC"}


def build_report(
    job: ClassifierJob,
    *,
    task: nn.Module,
    progresses: Sequence[Progress],
    predictions: Predictions,
    runtime: Runtime,
) -> dict[str, Any]:
    """Give everything that ``report.json`` holds."""
    parts, labels = job.parts, job.parts.test.labels
    rows = table_rows(predictions, labels, window=job.config.evaluation.window, memory=job.config.model.memory_label)
    gains = memory_gains(predictions, labels)
    spans = (parts.train.spans, parts.test.spans)
    audit = audit_split(
        plain(parts.train), plain(parts.test), n_classes=len(parts.classes),
        spans=None if spans[0] is None or spans[1] is None else (spans[0], spans[1]),
    )  # fmt: skip
    shares = np.bincount(labels, minlength=len(parts.classes)) / len(labels)
    report: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "kind": "train_classifier",
        "titans_seq": __version__,
        "created": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "seed": job.config.run.seed,
        "classes": list(parts.classes),
        "positive": parts.classes[-1] if len(parts.classes) == 2 else None,
        "parts": {name: getattr(parts, name).counts() for name in ("train", "dev", "test")},
        "files": {name: job.inputs[name] for name in ("train", "dev", "test", "genome", "from")},
        "model": {"parameters": sum(p.numel() for p in task.parameters()), **job.config.model.arguments()},
        "runtime": runtime.describe(),
        "training": {
            "members": len(progresses),
            "steps": sum(progress.step for progress in progresses),
            "sequences": sum(progress.targets for progress in progresses),
            "seconds": round(sum(progress.seconds for progress in progresses), 1),
            "peak_ram_mb": round(peak_ram_mb(), 1),
        },
        "evaluation": {
            "sequences": len(labels),
            "prevalence": float(shares[-1]) if len(parts.classes) == 2 else float(shares.mean()),
            "rows": rows,
            "memory": gains,
            "confusion": confusion(labels, best_predictions(predictions)).tolist(),
            "audit": [
                {"check": f.check, "share": f.share, "accuracy": f.accuracy, "mcc": f.mcc, "warning": f.warning}
                for f in audit
            ],
            "remarks": [*_remarks(rows, gains), f"The split: {verdict(audit)}"],
        },
    }
    report["text"] = report_lines(report)
    return report


def best_predictions(predictions: Predictions) -> Any:
    """Give what the model answers: the members together, or the only one."""
    return predictions.get(TOGETHER, predictions.get("carried", predictions.get("no memory", [None])))[0]


def save_classifier(job: ClassifierJob, members: Sequence[SequenceClassifier]) -> Path:
    """Write the weights of all members, with the configuration and the classes inside."""
    path = job.out / "model.safetensors"
    tensors = {f"{n}/{name}": value for n, task in enumerate(members) for name, value in task.state_dict().items()}
    words = {"format_version": "1", "titans_seq": __version__, "config": dump_config(job.config)}
    save_tensors(path, tensors, metadata=words | {"classes": "\n".join(job.parts.classes)})
    return path


def write_report(job: ClassifierJob, report: dict[str, Any], *, predictions: Predictions) -> None:
    """Write predictions, pictures, the page and, last, ``report.json``."""
    labels, classes = job.parts.test.labels, job.parts.classes
    best = best_predictions(predictions)
    shown = {"titans-seq": best} | {
        row["name"]: predictions[row["name"]][0] for row in [best_row(report["evaluation"]["rows"], CHEAP)] if row
    }
    pictures = {
        "Confusion": draw_confusion(job.out / "confusion.png", confusion(labels, best), classes=classes),
        "Precision and recall": draw_precision_recall(job.out / "precision_recall.png", labels, shown, classes=classes),
    }
    report["pictures"] = [path.name for path in pictures.values()]
    write_predictions(job, best)
    write_text(job.out / "report.html", _page(job, report, pictures))
    write_json(job.out / "report.json", report)


def write_predictions(job: ClassifierJob, probabilities: Any) -> None:
    """Write ``predictions.csv``: name, true class and probabilities of every test sequence."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    classes, test = job.parts.classes, job.parts.test
    writer.writerow(["name", "label", "predicted", *(f"p_{name}" for name in classes)])
    for row, values in enumerate(probabilities):
        names = (test.names[row], classes[test.labels[row]], classes[int(values.argmax())])
        writer.writerow([*names, *(f"{value:.6f}" for value in values)])
    write_text(job.out / "predictions.csv", text.getvalue())


def report_lines(report: Mapping[str, Any]) -> list[str]:
    """Lay a report out as lines."""
    training, evaluation, runtime = report["training"], report["evaluation"], report["runtime"]
    positive = f"; positive class {report['positive']!r}" if report["positive"] is not None else ""
    sizes = ", ".join(f"{name} {sum(counts.values()):,}" for name, counts in report["parts"].items())
    return [
        f"{len(report['classes'])} classes; sequences: {sizes}{positive}; prevalence {evaluation['prevalence']:.3f}",
        f"{report['model']['parameters']:,} parameters; {training['members']} members, {training['steps']:,} steps in "
        f"{training['seconds'] / 60:.1f} min on {runtime['device']}, {runtime['threads']} threads",
        "",
        *table_lines(evaluation),
        "",
        *evaluation["remarks"],
    ]


def table_lines(evaluation: Mapping[str, Any]) -> list[str]:
    """Lay out the one table: a line for each row, mean and standard deviation over its seeds."""
    header = ["on the test part (higher is better)", *HEADS.values()]
    body = [[row["label"], *(cell(row, key) for key in SCORES)] for row in evaluation["rows"]]
    widths = [max(len(line[i]) for line in (header, *body)) for i in range(len(header))]

    def line(cells: list[str]) -> str:
        padded = [f"{text:>{width}}" for text, width in zip(cells[1:], widths[1:], strict=True)]
        return "  ".join([cells[0].ljust(widths[0]), *padded]).rstrip()

    lines = [line(header), "-" * len(line(header))]
    for before, row, cells in zip([None, *evaluation["rows"]], evaluation["rows"], body, strict=False):
        if before is not None and before["group"] != row["group"]:
            lines.append(lines[1])
        lines.append(line(cells))
    return lines


def cell(row: Mapping[str, Any], key: str) -> str:
    """Write a score as ``0.912 +- 0.008``."""
    value, spread = row["scores"][key], row["spread"][key]
    text = "-" if value is None else f"{value:.3f}"
    return text if spread is None else f"{text} +- {spread:.3f}"


def _remarks(rows: Sequence[Mapping[str, Any]], gains: Mapping[str, Mapping[str, float]]) -> list[str]:
    remarks = []
    own, cheap = best_row(rows, OWN), best_row(rows, CHEAP)
    if own and cheap:
        gap = own["scores"]["mcc"] - cheap["scores"]["mcc"]
        side = "above" if gap > 0 else "below"
        remarks.append(
            f"The best arm ({own['name']}) is {abs(gap):.3f} MCC {side} the best cheap rule ({cheap['name']})."
        )
    for arm, words in (("reset", "one begun anew in every window"), ("off", "the same weights with the memory off")):
        if arm in gains:
            gain, error = gains[arm]["gain"], gains[arm]["error"]
            told = "saves" if gain > 0 else "costs"
            clear = abs(gain) > 2 * error
            phrase = f"{told} {abs(gain):.4f} +- {error:.4f} nats a sequence" if clear else (
                f"makes no clear difference ({gain:+.4f} +- {error:.4f} nats a sequence)")  # fmt: skip
            remarks.append(f"The memory carried over a sequence {phrase} against {words}.")
    return remarks


def _page(job: ClassifierJob, report: Mapping[str, Any], pictures: Mapping[str, Path]) -> str:
    heads = "".join(f"<th>{escape(name)}</th>" for name in ("", *HEADS.values()))
    body, group = [], None
    for row in report["evaluation"]["rows"]:
        note = f" <small>{escape(row['note'])}</small>" if row["note"] else ""
        cells = "".join(f"<td>{escape(cell(row, key))}</td>" for key in SCORES)
        mark = ' class="first"' if row["group"] != group else ""
        group = row["group"]
        body.append(f"<tr{mark}><td>{escape(row['label'])}{note}</td>{cells}</tr>")
    files = ", ".join(Path(name.partition("=")[2] or name).name for name in report["files"]["train"])
    return plain_page(
        title=f"train-classifier: {files}",
        subtitle=report["text"][0],
        remarks=report["evaluation"]["remarks"],
        heading="Scores on the test part",
        table=f"<table><thead><tr>{heads}</tr></thead><tbody>{''.join(body)}</tbody></table>",
        pictures=pictures,
        facts=[("parameters", f"{report['model']['parameters']:,}"), ("training", report["text"][1])],
        config=dump_config(job.config),
        version=report["titans_seq"],
        created=report["created"],
    )
