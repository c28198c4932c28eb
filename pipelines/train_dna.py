"""Train a DNA encoder on genomes, score what was held out, write a report.

Question: how many bits does the next base cost, with a memory that is carried along each contig, and what is that
memory worth?

Inputs: FASTA (plain, gzip, bgzip) or GenBank, one or several; optionally an annotation (GFF3, GTF, GenBank).
Outputs, in the run folder: ``config.yaml run.json metrics.csv model.safetensors bits_per_base.safetensors report.json
report.html`` and pictures.
Launch: ``titans-seq train-dna genome.fa.gz --annotation genome.gff3.gz --preset dna-small``
Cost: the budget, plus about one pass of the model over the genome; figures by machine are in LOG.md.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

from titans_seq.genomics import BaseStreams
from titans_seq.tasks import NextBase
from titans_seq.tasks.build import build_next_base
from titans_seq.training.arms import arms_of
from titans_seq.training.baselines import markov_bits_held
from titans_seq.training.budget import plan_budget
from titans_seq.training.dna_job import DnaJob, prepare
from titans_seq.training.dna_report import build_report, save_bits, save_model, write_report
from titans_seq.training.evaluate import score_arms
from titans_seq.training.loop import Fitting, Progress, fit
from titans_seq.training.report import read_report, report_text
from titans_seq.training.run_folder import begin_run, removed_if_barren
from titans_seq.training.runtime import Runtime, choose_runtime
from titans_seq.training.trace import trace_memory

__all__ = ["prepare", "report_text", "run"]

_log = logging.getLogger(__name__)

Watch = Callable[[str, float, float, str], None]


def run(job: DnaJob, *, watch: Watch = lambda stage, done, total, note: None) -> dict[str, Any]:
    """Train, score and write; gives what ``report.json`` holds (nothing in a process that does not write)."""
    if job.resume and (job.out / "report.json").exists():
        _log.info("%s is finished", job.out)
        return read_report(job.out)
    runtime = choose_runtime(job.config.run)
    task = build_next_base(job.config)
    streams = build_streams(job, border=task.encoder.border)
    task.expect(streams.longest)
    if not job.resume and runtime.ranks.writes:
        begin_run(job.out, job.config, job.inputs)
    with nullcontext() if job.resume or not runtime.ranks.writes else removed_if_barren(job.out):
        progress = train(job, task, streams, runtime=runtime, watch=watch)
    if not runtime.ranks.writes:
        return {}
    save_model(job, task)
    report = evaluate(job, task, progress, runtime=runtime, watch=watch)
    _log.info("report: %s", job.out / "report.html")
    return report


def build_streams(job: DnaJob, *, border: int) -> BaseStreams:
    """Lay the training part out as parallel streams."""
    settings = job.config.streams
    streams = BaseStreams(
        job.genome,
        job.split.train,
        batch=settings.rows,
        segment=settings.length,
        border=border,
        gap_reset=settings.gap_reset,
        both_strands=settings.strands == "both",
        seed=job.config.run.seed,
    )
    if streams.fill < 0.5:
        _log.warning("%.0f %% of each segment is padding; a smaller streams.length is faster", 100 * (1 - streams.fill))
    return streams


def train(job: DnaJob, task: NextBase, streams: BaseStreams, *, runtime: Runtime, watch: Watch) -> Progress:
    """Train until the budget is spent, from the run's checkpoint if it has one."""
    budget = plan_budget(
        job.config.budget,
        segments_per_epoch=streams.segments_per_epoch,
        accumulate=job.config.optimiser.accumulate,
    )
    fitting = Fitting(
        folder=job.out,
        budget=budget,
        optimiser=job.config.optimiser,
        run=job.config.run,
        watch=watch,
    )
    return fit(task, streams, fitting=fitting, runtime=runtime)


def evaluate(job: DnaJob, task: NextBase, progress: Progress, *, runtime: Runtime, watch: Watch) -> dict[str, Any]:
    """Score the held-out part in every arm and by every baseline; write the report."""
    settings, held = job.config.evaluation, job.held
    score = partial(score_arms, task, held, job.genome.tokens, settings=settings, device=runtime.device)
    kinds = arms_of(neural=job.config.model.memory != "none", table=task.mixing is not None)
    arms, seconds = score(arms=kinds, watch=watch)
    save_bits(job, arms)
    baselines = markov_bits_held(job.genome, held, orders=settings.markov_orders, watch=watch)
    report = build_report(
        job, task=task, progress=progress, runtime=runtime, arms=arms, baselines=baselines, seconds=seconds
    )
    longest = max(held, key=lambda stretch: stretch.length)
    series = trace_memory(
        task,
        job.genome.tokens,
        contig=longest.contig,
        start=longest.start,
        stop=min(longest.stop, longest.start + settings.stretch),
        lead=settings.stretch,
        call=settings.stretch,
        device=runtime.device,
    )
    write_report(job, report, arms=arms, baselines=baselines, series=series, stretch=(longest.contig, longest.start))
    return report
