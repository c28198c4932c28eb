"""Train a classifier of labelled sequences, beside every cheap rule it must beat, and write a report.

Question: which class does a sequence belong to, and is the answer worth more than its length, its GC, its k-mers, or
a logistic regression on its bases?

Inputs: a FASTA for each class, a CSV or Parquet table, or FASTA + BED; published train, dev and test files are kept.
Outputs, in the run folder: ``config.yaml run.json member-N/ small-cnn-N/ model.safetensors predictions.csv
report.json report.html`` and pictures.
Launch: ``titans-seq train-classifier promoter=tata.fa.gz other=non_prom.fa.gz --out runs/promoters``
Cost: minutes on two CPU cores for some thousands of sequences; figures by machine are in LOG.md.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from titans_seq.errors import ConfigError
from titans_seq.streaming import open_dna_model
from titans_seq.training.classifier_fit import fit_cnns, fit_members
from titans_seq.training.classifier_job import ClassifierJob, from_pretrained
from titans_seq.training.classifier_job import prepare as prepare_job
from titans_seq.training.classifier_report import build_report, save_classifier, write_report
from titans_seq.training.classifier_scores import predict_all
from titans_seq.training.report import read_report, report_text
from titans_seq.training.run_folder import begin_run
from titans_seq.training.runtime import choose_runtime

__all__ = ["prepare", "report_text", "run"]

_log = logging.getLogger(__name__)

Watch = Callable[[str, float, float, str], None]


def prepare(*, pretrained: Path | None = None, **arguments: Any) -> ClassifierJob:
    """Read and check the sequences, and the pretrained run if there is one; nothing is written."""
    model = None if pretrained is None else open_dna_model(pretrained)
    job = prepare_job(**arguments)
    path = Path(job.inputs["from"]) if job.resume and job.inputs["from"] else pretrained
    if path is None:
        return job
    model = model or open_dna_model(path)
    if model.config.table.megabytes:
        _log.warning("%s: its table is left out; a sequence of its own is too short to fill one", path)
    return from_pretrained(
        job, path=path, model=model.config.model, input_section=model.config.input, weights=model.task.state_dict()
    )


def run(job: ClassifierJob, *, watch: Watch = lambda stage, done, total, note: None) -> dict[str, Any]:
    """Train, score and write; gives what ``report.json`` holds (nothing in a process that does not write)."""
    if job.resume and (job.out / "report.json").exists():
        _log.info("%s is finished", job.out)
        return read_report(job.out)
    runtime = choose_runtime(job.config.run)
    ranks = runtime.ranks
    if job.config.run.sharding != "none":
        raise ConfigError("run.sharding: a classifier fits into one process; leave it at none")
    if not job.resume and ranks.writes:
        begin_run(job.out, job.config, job.inputs)
    ranks.meet()
    members, progresses = fit_members(job, runtime=runtime, watch=watch)
    if ranks.writes:
        save_classifier(job, members)
    cnns = fit_cnns(job, runtime=runtime, watch=watch)
    if not ranks.writes:
        return {}
    predictions = predict_all(job, members, cnns, runtime=runtime, watch=watch)
    report = build_report(job, task=members[0], progresses=progresses, predictions=predictions, runtime=runtime)
    write_report(job, report, predictions=predictions)
    _log.info("report: %s", job.out / "report.html")
    return report
