"""Put together what a DNA run found: the table, the pictures, the remarks."""

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
from titans_seq.tasks import NextBase
from titans_seq.tensor_files import save_tensors
from titans_seq.training.arms import Held
from titans_seq.training.checkpoint import Progress
from titans_seq.training.dna_job import DnaJob, class_names
from titans_seq.training.figures import draw_held_out, draw_loss, draw_memory
from titans_seq.training.loop import peak_ram_mb
from titans_seq.training.metrics_log import read_metrics
from titans_seq.training.overlap import K, seen_share
from titans_seq.training.page import report_page
from titans_seq.training.report import ARM_NOTES, FORMAT_VERSION
from titans_seq.training.results import class_sizes, gain, on_common_bases, table_rows, verdict
from titans_seq.training.runtime import Runtime

Bits = NDArray[np.float32]
OWN, BASELINE = "titans-seq", "Markov"
OVERLAP_LIMIT = 200_000_000
"""Bases of the training part up to which its k-mers are counted; beyond, the list would not fit in memory."""


def build_report(
    job: DnaJob,
    *,
    task: NextBase,
    progress: Progress,
    runtime: Runtime,
    arms: Mapping[str, Bits],
    baselines: Mapping[str, Bits],
    seconds: Mapping[str, float],
) -> dict[str, Any]:
    """Give everything that ``report.json`` holds.

    Parameters
    ----------
    arms, baselines
        Bits for each held-out base, by name.
    seconds
        What scoring each arm took.
    """
    held = job.held
    bits = on_common_bases({**_named(arms), **baselines})
    classes = job.classes(held)
    rows = table_rows(bits, classes=classes, class_names=class_names())
    window = job.config.evaluation.window
    for row in rows:
        own = row["name"] not in baselines
        row["group"] = OWN if own else BASELINE
        row["note"] = ARM_NOTES.get(row["name"], "").format(window=f"{window:,}")
        row["label"] = f"{job.config.model.memory_label}, {row['name']}" if own else row["name"]
    memory = {arm: gain(bits["carried"], bits[arm]) for arm in arms if arm != "carried" and arm in bits}
    genome = job.genome
    known = sum(contig.length - contig.n_count for contig in genome.contigs)
    return {
        "format_version": FORMAT_VERSION,
        "kind": "train_dna",
        "titans_seq": __version__,
        "created": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "seed": job.config.run.seed,
        "genome": {
            "files": [Path(name).name for name in job.inputs["genomes"]],
            "checksum": genome.checksum,
            "contigs": len(genome.contigs),
            "bases": genome.total,
            "unknown": genome.total - known,
            "gc": sum(c.gc * (c.length - c.n_count) for c in genome.contigs) / max(known, 1),
        },
        "split": {side: sum(s.end - s.start for s in getattr(job.split, side)) for side in ("train", "valid")},
        "model": {
            "parameters": sum(parameter.numel() for parameter in task.parameters()),
            **job.config.model.arguments(),
        },
        "runtime": runtime.describe(),
        "training": {
            "steps": progress.step,
            "bases": progress.targets,
            "skipped": progress.skipped,
            "seconds": round(progress.seconds, 1),
            "bases_per_second": round(progress.targets / max(progress.seconds, 1e-9), 1),
            "peak_ram_mb": _training_ram(job.out),
        },
        "evaluation": {
            "bases": int(np.isfinite(next(iter(bits.values()))).sum()),
            "classes": class_sizes(next(iter(bits.values())), classes=classes, class_names=class_names()),
            "rows": rows,
            "memory": memory,
            "seconds": {name: round(value, 1) for name, value in seconds.items()},
            "peak_ram_mb": round(peak_ram_mb(), 1),
            "remarks": _remarks(job, held, rows=rows, memory=memory),
        },
    }


def write_report(
    job: DnaJob,
    report: dict[str, Any],
    *,
    arms: Mapping[str, Bits],
    baselines: Mapping[str, Bits],
    series: Mapping[str, NDArray[np.float32]],
    stretch: tuple[str, int],
) -> None:
    """Write the pictures, the page and, last, ``report.json``.

    Parameters
    ----------
    series, stretch
        What the memory did, and the contig and first base of where it did it.
    """
    pictures: dict[str, Path] = {}
    bits = {**_named(arms), **baselines}
    best = _best(report["evaluation"]["rows"], BASELINE)
    own = report["evaluation"]["rows"][0]
    marks = {own["name"]: own["all"]} | ({best["name"]: best["all"]} if best else {})
    pictures["Training"] = draw_loss(job.out / "loss.png", read_metrics(job.out), marks=marks)
    held = job.held
    one = len(held) == 1
    pictures["Along the held-out part"] = draw_held_out(
        job.out / "held_out.png",
        bits,
        own=list(_named(arms)),
        others=[best["name"]] if best else [],
        against="reset",
        positions=np.arange(held[0].start, held[0].stop) if one else np.arange(sum(s.length for s in held)),
        xlabel=f"{held[0].contig}, thousand bases" if one else "held-out bases end to end, thousands",
    )
    if series:
        pictures["What the memory did"] = draw_memory(
            job.out / "memory.png", series, start=stretch[1], contig=stretch[0]
        )
    report["pictures"] = [path.name for path in pictures.values()]
    write_text(job.out / "report.html", report_page(report, pictures=pictures, config=dump_config(job.config)))
    write_json(job.out / "report.json", report)


def save_bits(job: DnaJob, arms: Mapping[str, Bits]) -> Path:
    """Write bits for each held-out base, by arm, so that two runs can be compared base by base."""
    path = job.out / "bits_per_base.safetensors"
    tensors = {name: torch.from_numpy(values.astype(np.float16)) for name, values in _named(arms).items()}
    held = [[stretch.contig, stretch.start, stretch.stop] for stretch in job.held]
    save_tensors(path, tensors, metadata={"format_version": "1", "held": json.dumps(held)})
    return path


def save_model(job: DnaJob, task: NextBase) -> Path:
    """Write the trained weights, with the configuration that builds the model inside."""
    path = job.out / "model.safetensors"
    save_tensors(
        path,
        task.state_dict(),
        metadata={"format_version": "1", "titans_seq": __version__, "config": dump_config(job.config)},
    )
    return path


def _training_ram(run: Path) -> float:
    """Give the peak that training reached, before scoring took its own."""
    rows = read_metrics(run)
    return float(rows[-1]["peak_ram_mb"]) if rows else round(peak_ram_mb(), 1)


def _named(arms: Mapping[str, Bits]) -> dict[str, Bits]:
    """Call the only arm of an encoder without a memory what it is."""
    return dict(arms) if len(arms) > 1 else {"no memory": next(iter(arms.values()))}


def _best(rows: Sequence[dict[str, Any]], group: str) -> dict[str, Any]:
    return min((row for row in rows if row["group"] == group), key=lambda row: row["all"], default={})


def _remarks(
    job: DnaJob, held: Sequence[Held], *, rows: Sequence[dict[str, Any]], memory: dict[str, dict[str, float | None]]
) -> list[str]:
    remarks = [verdict(memory)] if {"reset", "off"} <= memory.keys() else []
    own, best = _best(rows, OWN), _best(rows, BASELINE)
    if best:
        gap = best["all"] - own["all"]
        side = "below" if gap > 0 else "above"
        remarks.append(f"The best arm is {abs(gap):.4f} bits per base {side} the best baseline ({best['name']}).")
    train = [(s.contig, s.start, s.end) for s in job.split.train]
    if sum(stop - start for _, start, stop in train) <= OVERLAP_LIMIT:
        share = seen_share([(h.contig, h.start, h.stop) for h in held], train, job.genome.tokens)
        remarks.append(f"{share:.1%} of the held-out bases lie in a {K}-mer of the training part, on either strand.")
    return remarks
