"""Train a network that labels every base of both strands, fit its decoder, score what was held out, write a report.

Question: which bases are CDS, tRNA, rRNA ... (or any feature types of yours), and, for genes without introns, where
does each gene begin and end?

Inputs: genomes with their annotations (FASTA + GFF3, GTF or BED; or GenBank), one pair or several.
Outputs, in the run folder: ``config.yaml run.json metrics.csv checkpoint/ model.safetensors report.json report.html``
and pictures. `titans-seq annotate` reads ``model.safetensors``. With several `members` (seeds) each has such a folder
``member-N`` and the report shows mean and spread.
Launch: ``titans-seq train-regions ecoli.fa.gz ecoli.gff3.gz --classes CDS,tRNA,rRNA --minutes 10``
Cost: the budget, plus one pass over the held-out part for each arm; figures by machine are in LOG.md.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from titans_seq.config import TrainRegionsConfig
from titans_seq.errors import StateMismatchError
from titans_seq.streaming.regions import open_regions_model
from titans_seq.tasks.base_labels import BaseLabels
from titans_seq.tasks.build_regions import build_base_labels
from titans_seq.tasks.gene_calls import ContigScores
from titans_seq.training.budget import plan_budget
from titans_seq.training.loop import Fitting, Progress, fit
from titans_seq.training.regions_baselines import majority, plain_scores, regressions
from titans_seq.training.regions_decoder import class_truth, fit_caller
from titans_seq.training.regions_evaluate import ArmScores, run_table, score_arm
from titans_seq.training.regions_job import RegionsJob, prepare
from titans_seq.training.regions_members import each_member, whole_run, write_members
from titans_seq.training.regions_networks import random_weights, small_cnn
from titans_seq.training.regions_report import build_report, save_model, write_report
from titans_seq.training.regions_runs import fit_runs
from titans_seq.training.regions_streams import LabelledStreams, labelled_streams
from titans_seq.training.report import read_report, report_text
from titans_seq.training.runtime import Runtime, choose_runtime

__all__ = ["prepare", "report_text", "run"]

_log = logging.getLogger(__name__)

Watch = Callable[[str, float, float, str], None]


def run(job: RegionsJob, *, watch: Watch = lambda stage, done, total, note: None) -> dict[str, Any]:
    """Train a model for each seed, score and write; gives ``report.json``, nothing in a process but the first."""
    if job.resume and (job.out / "report.json").exists():
        _log.info("%s is finished", job.out)
        return read_report(job.out)
    runtime = choose_runtime(job.config.run)
    writes = runtime.ranks.writes
    with whole_run(job, writes=writes):
        if job.config.members == 1:
            return run_seed(job, runtime=runtime, watch=watch)
        reports = [run_seed(member, runtime=runtime, watch=watch) for member in each_member(job, writes=writes)]
        return write_members(job, reports) if writes else {}


def run_seed(job: RegionsJob, *, runtime: Runtime, watch: Watch) -> dict[str, Any]:
    """One seed: train, fit the decoder, score and write; what is there already is read."""
    if job.resume and (job.out / "report.json").exists():
        return read_report(job.out)
    torch.manual_seed(job.config.run.seed)
    task = build_base_labels(job.config)
    streams = labelled_streams(job)
    task.expect(streams.shares.tolist(), shown=streams.shown.tolist())
    if job.start is not None:
        begin_with(task, job.start, job.config)
    progress = train(job, task, streams, runtime=runtime, watch=watch)
    if not runtime.ranks.writes:
        return {}
    task.eval()
    caller = fit_caller(job, task, watch=watch) if job.decode else None
    rules = fit_runs(job, task, watch=watch)
    save_model(job, task, caller, rules)
    arms: dict[str, ArmScores] = {}
    first: list[ContigScores] = []
    for arm in job.config.evaluation.arms if job.config.model.memory != "none" else ("reset",):
        arms[arm], scores = score_arm(job, task, caller, arm, watch=watch)
        arms[arm].runs = run_table(job, scores, rules)
        first = first or scores
    report = build_report(job, task=task, progress=progress, runtime=runtime, arms=arms, **baselines(job))
    write_report(job, report, task=task, arms=arms, scores=first, caller=caller)
    _log.info("report: %s", job.out / "report.html")
    return report


def train(job: RegionsJob, task: BaseLabels, streams: LabelledStreams, *, runtime: Runtime, watch: Watch) -> Progress:
    """Train until the budget is spent, from the run's checkpoint if it has one."""
    accumulate = job.config.optimiser.accumulate
    fitting = Fitting(
        folder=job.out,
        budget=plan_budget(job.config.budget, segments_per_epoch=streams.segments_per_epoch, accumulate=accumulate),
        optimiser=job.config.optimiser,
        run=job.config.run,
        watch=watch,
        command="titans-seq train-regions --resume --out",
    )
    return fit(task, streams, fitting=fitting, runtime=runtime)


def begin_with(task: BaseLabels, path: Path, config: TrainRegionsConfig) -> None:
    """Start from the weights of another run of the same shape."""
    model = open_regions_model(path)
    shapes = [
        (c.model, c.letters.patch, c.letters.width, c.letters.table_width, c.labels.classes, c.labels.frames)
        for c in (config, model.config)
    ]
    if shapes[0] != shapes[1]:
        raise StateMismatchError(
            f"{path}: its model, letters or classes differ from this preset's; copy its config.yaml"
        )
    task.load_state_dict(model.task.state_dict())


def baselines(job: RegionsJob) -> dict[str, Any]:
    """The cheap labellers: rows of bases by name, and what the decoder finds without a network."""
    truth = np.concatenate([class_truth(job, stretch).ravel() for stretch in job.parts.valid])
    rows = {"majority": majority(job, truth)}
    settings, seed = job.config.evaluation, job.config.run.seed
    if settings.baseline_windows:
        rows |= regressions(job, windows=settings.baseline_windows, seed=seed)
    if settings.cnn_steps:
        rows["small CNN"] = small_cnn(job, steps=settings.cnn_steps, seed=seed)
    if settings.baseline_windows:
        rows["random weights"] = random_weights(job, windows=settings.baseline_windows, seed=seed)
    return {"baselines": rows, "plain": plain_scores(job)}
