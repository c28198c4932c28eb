"""`titans-seq classify`: a class and its probability for each sequence."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("classify", no_args_is_help=True)
@click.argument("source")
@click.option("--model", type=click.Path(path_type=Path), required=True, metavar="RUN", help="A train-classifier run.")
@click.option("-o", "--out", type=click.Path(path_type=Path), help=".csv, .tsv or .parquet.  [default: CSV to stdout]")
@click.option("--genome", metavar="FASTA", help="Read SOURCE as BED intervals of this genome.")
@click.option("--sequence-column", default="sequence", show_default=True, metavar="NAME")
@click.option("--label-column", default="label", show_default=True, metavar="NAME", help="Scored where it is there.")
@click.option("--name-column", default="name", show_default=True, metavar="NAME")
@click.option("--columns", metavar="A,B,...", help="Columns of a table that has no header line.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, mps, cuda, cuda:1 ...")
@click.pass_context
def command(
    ctx: click.Context, source: str, model: Path, out: Path | None, genome: str | None, sequence_column: str,
    label_column: str, name_column: str, columns: str | None, device: str,
) -> None:  # fmt: skip
    """Classify the sequences of SOURCE: FASTA, CSV, TSV, Parquet, or BED with --genome.

    \b
    titans-seq classify new.fa.gz --model runs/tata -o predictions.csv
    titans-seq classify windows.bed --genome hg38.fa --model runs/peaks -o predictions.parquet
    """
    from importlib import import_module

    from titans_seq.cli.talk import Talk
    from titans_seq.genomics.labelled_rows import Columns

    pipeline = import_module("titans_seq.pipelines.classify")
    header = tuple(name.strip() for name in columns.split(",")) if columns else ()
    with Talk(quiet=bool(ctx.find_root().params.get("quiet"))) as talk:
        text, summary = pipeline.run(
            source=source,
            model=model,
            out=out,
            columns=Columns(sequence_column, label_column, name_column, header=header),
            genome=genome,
            device=device,
            watch=talk.watch,
        )
    click.echo(text, nl=False)
    if not ctx.find_root().params.get("quiet"):
        answers = ", ".join(f"{name} {count:,}" for name, count in summary["answers"].items())
        click.echo(f"{summary['sequences']:,} sequences: {answers}", err=True)
        if "scores" in summary:
            known = {name: value for name, value in summary["scores"].items() if value is not None}
            click.echo(", ".join(f"{name} {value:.3f}" for name, value in known.items()), err=True)
