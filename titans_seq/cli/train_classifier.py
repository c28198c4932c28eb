"""`titans-seq train-classifier`: from labelled sequences to a classifier and an honest table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from titans_seq.cli.labelled_options import data_overrides, labelled_options


@click.command("train-classifier", no_args_is_help=True)
@click.argument("sources", nargs=-1, metavar="SOURCE...")
@click.option("--out", type=click.Path(path_type=Path), help="Run folder.")
@click.option("--preset", help="Name of a preset, or a .yaml of your own.  [default: classifier-small]")
@click.option("--dev", multiple=True, metavar="SOURCE", help="Published dev part; else a tenth is held out.")
@click.option("--test", multiple=True, metavar="SOURCE", help="Published test part; else a fifth is held out.")
@click.option(
    "--from", "pretrained", type=click.Path(path_type=Path), metavar="RUN", help="Start from a train-dna run."
)
@click.option("--frozen", is_flag=True, help="Train the head only.")
@click.option("--reverse-complement", type=click.Choice(["none", "augment", "average", "equivariant"]),
              help="What the other strand means.  [default: none]")  # fmt: skip
@labelled_options
@click.option("--epochs", type=float, help="Train for this many passes over the training part.")
@click.option("--minutes", type=float, help="Train each member for this long at most.")
@click.option("--members", type=int, help="Models trained from consecutive seeds; their mean is the answer.")
@click.option("--device", help="auto, cpu, mps, cuda, cuda:1 ...")
@click.option("--seed", type=int, help="Seed of the weights, the order and the parts.")
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Set any key of the preset.")
@click.option("--resume", is_flag=True, help="Go on with the run in --out.")
@click.pass_context
def command(ctx: click.Context, sources: tuple[str, ...], **options: Any) -> None:
    """Train a sequence classifier and print one table: cheap rules, a small CNN, ours with and without its memory.

    SOURCE is a FASTA file for each class (NAME=FILE names it), or CSV/TSV/Parquet with sequence,label, or BED with
    --genome (0-based, half-open; the label is the 4th column).

    \b
    titans-seq train-classifier promoter=tata.fa.gz other=non_prom.fa.gz --out runs/tata
    titans-seq train-classifier train.csv --dev dev.csv --test test.csv --out runs/gue
    titans-seq train-classifier splice.csv --columns label,name,sequence --out runs/splice
    titans-seq train-classifier peaks.bed --genome hg38.fa --reverse-complement equivariant --out runs/peaks
    """
    from importlib import import_module

    from titans_seq.cli.talk import Talk

    overrides = [*options["assignments"], *data_overrides(options), *_flags_as_overrides(options)]
    pipeline = import_module("titans_seq.pipelines.train_classifier")
    with Talk(quiet=bool(ctx.find_root().params.get("quiet"))) as talk:
        job = pipeline.prepare(
            sources=sources,
            dev=options["dev"],
            test=options["test"],
            genome=options["genome"],
            preset=options["preset"],
            out=options["out"],
            overrides=overrides,
            resume=options["resume"],
            pretrained=options["pretrained"],
        )
        report = pipeline.run(job, watch=talk.watch)
    if report:  # of the processes of a job one writes and reports
        click.echo(pipeline.report_text(report))


def _flags_as_overrides(options: dict[str, Any]) -> list[str]:
    """Write each flag that was given as the assignment it stands for."""
    budgets = {name: options[name] for name in ("epochs", "minutes") if options[name] is not None}
    if len(budgets) > 1:
        raise click.UsageError("expected one of --epochs, --minutes; found both")
    overrides = [f"budget={json.dumps(budgets)}"] if budgets else []
    overrides += ["classifier.frozen=true"] if options["frozen"] else []
    for flag, key in (
        ("reverse_complement", "classifier.reverse_complement"),
        ("members", "classifier.members"),
        ("device", "run.device"),
        ("seed", "run.seed"),
    ):
        if options[flag] is not None:
            overrides.append(f"{key}={json.dumps(options[flag])}")
    return overrides
