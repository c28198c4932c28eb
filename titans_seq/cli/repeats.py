"""`titans-seq repeats`: the far copies of a genome as a BED file, and what is new in it as a track."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


@click.command("repeats", no_args_is_help=True)
@click.argument("genomes", nargs=-1, metavar="GENOME...", required=True)
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help="A BED file.")
@click.option("--seed", type=click.IntRange(12, 31), default=24, show_default=True,
              help="Bases without a change that a repeat must hold.")  # fmt: skip
@click.option("--min-length", type=click.IntRange(12), default=100, show_default=True, help="Shortest repeat in bases.")
@click.option("--chroms", metavar="A,B", help="Only these sequences.")
@click.option("--table-mb", type=click.FloatRange(0, min_open=True), default=4096.0, show_default=True,
              help="Largest table, in MB.")  # fmt: skip
@click.option("--novelty", type=click.Path(path_type=Path), metavar="TRACK",
              help="Also the share of new bases: .bw, .bedgraph or .bedgraph.gz.")  # fmt: skip
@click.option("--bin", "size", type=click.IntRange(min=1), default=32, show_default=True, help="Bases of its bins.")
@click.pass_context
def command(ctx: click.Context, genomes: tuple[str, ...], chroms: str | None, **options: Any) -> None:
    """Find what was there before, on either strand, and where first.

    GENOME is FASTA (plain, gzip, bgzip), GenBank, or - for standard input; copies between sequences are found too. No
    model is needed.

    A base is new (1 in the track) unless it lies in at least --seed bases that agree, without a change, with what was
    there before on either strand (0); copies nearer than 64 bases may be missed.

    \b
    titans-seq repeats ecoli.fa.gz -o repeats.bed --novelty novelty.bw
    titans-seq repeats chloroplast.gb -o inverted.bed --min-length 1000
    """
    from importlib import import_module

    from titans_seq.cli.talk import Talk

    pipeline = import_module("titans_seq.pipelines.repeats")
    chosen = tuple(name for name in (chroms or "").split(",") if name)
    with Talk(quiet=bool(ctx.find_root().params.get("quiet"))) as talk:
        found = pipeline.run(genomes, chroms=chosen, watch=talk.watch, **options)
    share = found["bases"] / found["of"]
    click.echo(f"{options['out']}: {found['repeats']:,} repeats, {found['bases']:,} bases ({share:.1%})", err=True)
