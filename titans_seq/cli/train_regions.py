"""`titans-seq train-regions`: from annotated genomes to a model that labels every base, and a report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click


@click.command("train-regions", no_args_is_help=True)
@click.argument("files", nargs=-1, metavar="GENOME ANNOTATION...")
@click.option("--preset", default="regions-small", show_default=True, help="Name of a preset, or a .yaml of your own.")
@click.option("--out", type=click.Path(path_type=Path), help="Run folder.  [default: runs/GENOME-PRESET]")
@click.option("--classes", metavar="A,B,C", help="Feature types, the most important first; intron is derived.")
@click.option("--frames", metavar="A", help="The class whose codon positions are learned; '' for none.")
@click.option("--table", type=int, help="NCBI translation table: start and stop codons.")
@click.option("--decode", type=click.Choice(["auto", "orf", "spliced", "none"]), help="Put genes together.")
@click.option("--split", type=click.Choice(["contig", "region", "file"]), help="What is held out.")
@click.option("--valid-contigs", metavar="A,B", help="Hold these contigs out whole.")
@click.option("--valid-fraction", type=float, help="Hold out this share of the bases.")
@click.option("--margin", type=int, help="Bases left out of training in front of a held-out region.")
@click.option("--from", "start", type=click.Path(path_type=Path), help="Begin with the weights of this run.")
@click.option("--steps", type=int, help="Train for this many optimiser steps.")
@click.option("--epochs", type=float, help="Train for this many passes over the training part.")
@click.option("--minutes", type=float, help="Train for this long; evaluation comes on top.")
@click.option("--members", type=int, help="Models trained from consecutive seeds; the tables are mean and spread.")
@click.option("--device", help="auto, cpu, mps, cuda, cuda:1 ...")
@click.option("--seed", type=int, help="Seed of the weights and of the order of the streams.")
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Set any key of the preset.")
@click.option("--resume", is_flag=True, help="Go on with the run in --out.")
@click.pass_context
def command(ctx: click.Context, files: tuple[str, ...], preset: str, out: Path | None, **options: Any) -> None:
    """Train a network that labels every base of both strands, and a decoder that calls genes.

    GENOME is FASTA, ANNOTATION is GFF3, GTF or BED (the name column is the class); all plain or gzip. A GenBank file
    stands for both. Several pairs may follow each other. GFF3 and GTF count from 1, BED from 0.

    \b
    titans-seq train-regions ecoli.fa.gz ecoli.gff3.gz --minutes 10
    titans-seq train-regions chloroplast.gb --classes CDS,tRNA,rRNA --decode none
    titans-seq train-regions worm.fa worm.gff3 --classes CDS,intron --table 1 --split contig --valid-contigs V
    """
    from importlib import import_module

    from titans_seq.cli.talk import Talk

    overrides = [*options["assignments"], *_flags_as_overrides(options)]
    pipeline = import_module("titans_seq.pipelines.train_regions")
    preset_given = ctx.get_parameter_source("preset") is not click.core.ParameterSource.DEFAULT
    with Talk(quiet=bool(ctx.find_root().params.get("quiet"))) as talk:
        job = pipeline.prepare(
            files=files,
            preset=preset if preset_given or not options["resume"] else None,
            out=out,
            overrides=overrides,
            resume=options["resume"],
            start=options["start"],
            watch=talk.watch,
        )
        report = pipeline.run(job, watch=talk.watch)
    if report:
        click.echo(pipeline.report_text(report))


def _flags_as_overrides(options: dict[str, Any]) -> list[str]:
    """Write each flag that was given as the assignment it stands for; ``--table 4`` is `labels.translation_table=4`."""
    budgets = {name: options[name] for name in ("steps", "epochs", "minutes") if options[name] is not None}
    if len(budgets) > 1:
        found = ", ".join(f"--{name}" for name in budgets)
        raise click.UsageError(f"expected one of --steps, --epochs, --minutes; found {found}")
    overrides = [f"budget={json.dumps(budgets)}"] if budgets else []
    classes = _names(options["classes"])
    labels: dict[str, Any] = {}
    if classes is not None:
        labels["classes"] = classes
        labels["frames"] = [kind for kind in classes if kind == "CDS"]
    if options["frames"] is not None:
        labels["frames"] = _names(options["frames"])
    # Classes and frames are checked against each other, so they are set together.
    overrides += [f"labels.{key}={json.dumps(value)}" for key, value in labels.items()]
    contigs = _names(options["valid_contigs"])
    if contigs is not None:
        overrides += [f"split.valid_contigs={json.dumps(contigs)}", 'split.by="contig"']
    for flag, key in (
        ("split", "split.by"),
        ("valid_fraction", "split.valid_fraction"),
        ("margin", "split.margin"),
        ("table", "labels.translation_table"),
        ("decode", "labels.decode"),
        ("members", "members"),
        ("device", "run.device"),
        ("seed", "run.seed"),
    ):
        if options[flag] is not None:
            overrides.append(f"{key}={json.dumps(options[flag])}")
    return overrides


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]
