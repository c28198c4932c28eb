"""`titans-seq surprise`: what a model did not expect, as a genome browser's track or a score of every row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from titans_seq.cli.series_options import take_table
from titans_seq.cli.table_input import series_options, take_series

_OF_GENOMES = ("size", "strand", "context", "chroms", "gap_reset", "shard")


@click.command("surprise", no_args_is_help=True)
@click.argument("inputs", nargs=1, metavar="GENOME|TABLE", callback=lambda ctx, parameter, value: (value,))
@click.option("--model", type=click.Path(path_type=Path), metavar="RUN",
              help="Run of train-dna; for a table, a file of TitansEmbedder.save or --train.")  # fmt: skip
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path),
              help="Track: .bw, .bedgraph or .bedgraph.gz; of a table .csv or .parquet.")  # fmt: skip
@click.option(
    "--what", help="loss, gradient, write, forget or gain.  [default: loss; of a table without --model gradient]"
)
@click.option("--bin", "size", type=click.IntRange(min=1), default=32, show_default=True, help="Bases of a bin.")
@click.option("--strand", default="+", show_default=True, help="+, - (reverse complement), or both: the mean.")
@click.option("--context", default="contig", show_default=True,
              help="Bases that the memory carries: contig, or a number such as 10k or 1M.")  # fmt: skip
@click.option("--chroms", metavar="A,B", default="", help="These contigs only.")
@click.option("--gap-reset", type=click.IntRange(min=0), default=10_000, show_default=True,
              help="A longer run of N begins the memory anew.")  # fmt: skip
@click.option("--shard", metavar="I/N", help="Part I of N, written to NAME.I-of-N.SUFFIX; see below.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, mps, cuda, cuda:1 ...")
@click.option("--threads", type=click.IntRange(min=1), help="Threads of the CPU.")
@series_options
@click.pass_context
def command(ctx: click.Context, **options: Any) -> None:
    """Write how surprised a model was along a genome, or by every row of a table of series.

    GENOME is FASTA (plain, gzip, bgzip), GenBank, or - for standard input; TABLE is CSV or Parquet, long or wide.

    \b
    loss      bits that each base cost, given all before it
    gradient  length of the memory's surprise
    write     length of what each base wrote into the memory
    forget    share of the memory that each base made it forget
    gain      bits saved by the memory carried from the contig's start, against one begun afresh
              in every window: what this chromosome taught the model

    Of a table: the squared error of the next row in units of its series' deviation so far (loss), or what its memory
    did (gradient, write, forget). A row's score follows from its own series up to there and from the model. Without
    --model the encoder's weights are drawn, always the same ones, and only its memory learns; --train 200 --model
    NEW.safetensors first learns to predict the table's next rows.

    --shard 1/8 ... 8/8, on as many machines, or torchrun --nproc-per-node 8 -m titans_seq surprise ...: eight parts
    that together are what one process writes, number for number. A shard reads contigs of its own, or stretches of a
    contig where the context is a number. Where a contig must be cut although all of it is context, a shard goes on
    from the memory that the one before (on --strand - the one behind) left beside its part; where that is not there
    yet, it reads what comes before as well: exact either way, and no faster than one process.

    A run that was killed goes on, with the same command, where it was a minute before, within a contig too.

    \b
    titans-seq surprise ecoli.fa.gz --model runs/ecoli-dna-small -o loss.bw
    titans-seq surprise ecoli.fa.gz --model runs/ecoli-dna-small --what gain --bin 128 -o gain.bedgraph.gz
    titans-seq surprise meters.csv --id-col meter --target-col kwh -o scores.csv
    """
    from importlib import import_module

    from titans_seq.cli.talk import Talk, going_on

    quiet = bool(ctx.find_root().params.get("quiet"))
    series = take_series(ctx, options, of_genomes=_OF_GENOMES)
    (source,) = options.pop("inputs")
    drawn = series and options["model"] is None
    what = options.pop("what") or ("gradient" if drawn else "loss")
    if series:
        pipeline = import_module("titans_seq.pipelines.surprise_series")
        with Talk(quiet=quiet) as talk, going_on():
            job = pipeline.prepare(table=Path(source), options=take_table(options), **options)
            known, rows = pipeline.run(job, what=what, watch=talk.watch)
        click.echo(f"{job.out}: {what} of {known:,} of {rows:,} rows")
        return
    pipeline = import_module("titans_seq.pipelines.surprise")
    names = [name for name in options.pop("chroms").split(",") if name]
    with Talk(quiet=quiet) as talk, going_on():
        job = pipeline.prepare(genome=source, what=what, chroms=names, watch=talk.watch, **options)
        pipeline.run(job, watch=talk.watch)
    click.echo(job.out)
