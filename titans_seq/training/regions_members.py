"""One model for each of several seeds: a folder for each, and one report of their mean and spread.

::

    RUN/config.yaml run.json      of all
    RUN/member-0/ member-1/ ...   whole runs of train-regions, seeds `run.seed`, `run.seed` + 1, ...
    RUN/model.safetensors         that of member-0: the first seed, whatever the others score
    RUN/report.json report.html   mean and spread, and the tables of every seed

`titans-seq annotate --model RUN` takes the first seed, so that no model is chosen by what is held out;
``--model RUN/member-1`` takes another.
"""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any

from titans_seq.errors import InterruptedRun
from titans_seq.files import replacing
from titans_seq.training.regions_job import RegionsJob
from titans_seq.training.regions_report import html_tables, with_tables, write_pages
from titans_seq.training.run_folder import begin_run, removed_if_barren

_log = logging.getLogger(__name__)

PICTURES = {"A region": "region.png", "Classes": "confusion.png", "Precision and recall": "precision_recall.png"}


@contextmanager
def whole_run(job: RegionsJob, *, writes: bool) -> Iterator[None]:
    """Begin the folder of a run; it goes again if nothing comes of it, and a stop says how to go on with all seeds."""
    if writes and not job.resume:
        begin_run(job.out, job.config, job.inputs)
    try:
        with nullcontext() if job.resume or not writes else removed_if_barren(job.out):
            yield
    except InterruptedRun as stop:
        raise InterruptedRun(re.sub(rf"({re.escape(str(job.out))})/member-\d+", r"\1", str(stop))) from None


def each_member(job: RegionsJob, *, writes: bool) -> Iterator[RegionsJob]:
    """The job of each seed, its folder begun; one that has begun before goes on."""
    for number in range(job.config.members):
        run = job.config.run.model_copy(update={"seed": job.config.run.seed + number})
        config = job.config.model_copy(update={"run": run, "members": 1})
        out = _folder(job, number)
        resume = (out / "config.yaml").exists()
        if writes and not resume:
            shutil.rmtree(out, ignore_errors=True)  # killed while it was begun
            begin_run(out, config, job.inputs)
        _log.info("seed %d, member %d of %d", run.seed, number + 1, job.config.members)
        yield replace(job, config=config, out=out, resume=resume)


def _folder(job: RegionsJob, number: int) -> Path:
    return job.out / f"member-{number}"


def write_members(job: RegionsJob, reports: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Write the report over the seeds and the first one's model; gives the report."""
    first = reports[0]
    training = [report["training"] for report in reports]
    keys = ("seed", "training", "evaluation", "remarks", "tables")
    report = {
        **first,
        "training": {
            "members": len(reports),
            "steps": sum(part["steps"] for part in training),
            "labels": sum(part["labels"] for part in training),
            "skipped": sum(part["skipped"] for part in training),
            "seconds": round(sum(part["seconds"] for part in training), 1),
            "peak_ram_mb": max(part["peak_ram_mb"] for part in training),
        },
        "members": [{key: report[key] for key in keys} for report in reports],
    }
    with_tables(report, [seed["evaluation"] for seed in reports], memory=job.config.model.memory_label)
    seeds = [report["seed"] for report in reports]
    told = (
        f"Mean and standard deviation over seeds {', '.join(map(str, seeds))}; model.safetensors and the pictures are "
        f"those of seed {seeds[0]}, the first, whatever the others score."
    )
    report["remarks"] = [told, *report["remarks"]]
    report["text"] += [told]
    for name in ("model.safetensors", *PICTURES.values()):
        with replacing(job.out / name) as path:
            shutil.copyfile(_folder(job, 0) / name, path)
    tables = html_tables(report)
    for seed in reports:
        tables += f"<h3>{escape('seed ' + str(seed['seed']))}</h3>{html_tables(seed)}"
    write_pages(job, report, tables=tables, pictures={name: job.out / file for name, file in PICTURES.items()})
    return report
