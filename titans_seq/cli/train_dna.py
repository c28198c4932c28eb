"""`titans-seq train-dna`: from a FASTA to a trained encoder and a report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click


@click.command("train-dna", no_args_is_help=True)
@click.argument("genomes", nargs=-1, metavar="GENOME...")
@click.option("--preset", default="dna-small", show_default=True, help="Name of a preset, or a .yaml of your own.")
@click.option("--out", type=click.Path(path_type=Path), help="Run folder.  [default: runs/GENOME-PRESET]")
@click.option("--annotation", type=click.Path(path_type=Path), help="GFF3, GTF or GenBank: scores by class too.")
@click.option("--valid-contigs", metavar="A,B", help="Hold these contigs out whole.")
@click.option("--valid-fraction", type=float, help="Hold out the last part of every contig.")
@click.option("--steps", type=int, help="Train for this many optimiser steps.")
@click.option("--epochs", type=float, help="Passes over the training part; at most so many with --minutes.")
@click.option("--minutes", type=float, help="Train for this long, within the preset's passes; evaluation on top.")
@click.option("--device", help="auto, cpu, mps, cuda, cuda:1 ...")
@click.option("--precision", help="auto, float32 or bfloat16.")
@click.option("--seed", type=int, help="Seed of the weights and of the order of the streams.")
@click.option("--gap-reset", type=int, help="A longer run of N ends a stream.")
@click.option("--table-mb", type=float, help="Most memory for the table of a stream, in MB; 0 leaves it out.")
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Set any key of the preset.")
@click.option("--resume", is_flag=True, help="Go on with the run in --out.")
@click.pass_context
def command(ctx: click.Context, genomes: tuple[str, ...], preset: str, out: Path | None, **options: Any) -> None:
    """Train a DNA encoder that carries its memory along each contig, and report honestly.

    GENOME is FASTA (plain, gzip, bgzip), GenBank, or - for standard input; several are read as one set.

    \b
    titans-seq train-dna ecoli.fa.gz --annotation ecoli.gff3.gz --minutes 30
    titans-seq train-dna chloroplast.gb --preset dna-tiny --out runs/demo
    titans-seq train-dna --resume --out runs/demo

    torchrun --nproc-per-node 4 -m titans_seq train-dna ... trains in four processes, each with its share of
    streams.rows; with --set run.sharding=full (FSDP) each also keeps but a share of the model. A run goes on in any
    number of them.
    """
    from importlib import import_module

    from titans_seq.cli.talk import Talk

    # A flag is more deliberate than a list of assignments, so it comes last and wins.
    overrides = [*options["assignments"], *_flags_as_overrides(options)]
    pipeline = import_module("titans_seq.pipelines.train_dna")
    preset_given = ctx.get_parameter_source("preset") is not click.core.ParameterSource.DEFAULT
    with Talk(quiet=bool(ctx.find_root().params.get("quiet"))) as talk:
        job = pipeline.prepare(
            genomes=genomes,
            preset=preset if preset_given or not options["resume"] else None,
            out=out,
            annotation=options["annotation"],
            overrides=overrides,
            resume=options["resume"],
            watch=talk.watch,
        )
        report = pipeline.run(job, watch=talk.watch)
    if report:
        click.echo(pipeline.report_text(report))


def _flags_as_overrides(options: dict[str, Any]) -> list[str]:
    """Write each flag that was given as the assignment it stands for.

    ``--steps 10 --seed 3`` is ``--set budget={"steps": 10} --set run.seed=3``.
    """
    budgets = {name: options[name] for name in ("steps", "epochs", "minutes") if options[name] is not None}
    if len(budgets) > 1 and "steps" in budgets:
        found = ", ".join(f"--{name}" for name in budgets)
        raise click.UsageError(f"expected one of --steps, --epochs, --minutes, or the last two; found {found}")
    overrides = [f"budget={json.dumps(budgets)}"] if budgets else []
    if list(budgets) == ["minutes"]:
        overrides = ["budget.steps=null", f"budget.minutes={options['minutes']}"]
    if options["valid_contigs"] is not None:
        names = [name for name in options["valid_contigs"].split(",") if name]
        overrides.append(f"split.valid_contigs={json.dumps(names)}")
    for flag, key in (
        ("valid_fraction", "split.valid_fraction"),
        ("device", "run.device"),
        ("precision", "run.precision"),
        ("seed", "run.seed"),
        ("gap_reset", "streams.gap_reset"),
        ("table_mb", "table.megabytes"),
    ):
        if options[flag] is not None:
            overrides.append(f"{key}={json.dumps(options[flag])}")
    return overrides
