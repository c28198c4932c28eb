"""`titans-seq embed`: one vector per window, BED interval or sequence of a genome, or per series or window of time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from titans_seq.cli.series_options import take_table
from titans_seq.cli.table_input import series_options, take_series

_OF_GENOMES = ("regions", "per_sequence", "context", "strand", "chroms", "gap_reset", "shard")


@click.command("embed", no_args_is_help=True)
@click.argument("inputs", nargs=-1, metavar="GENOME...|TABLE", required=True)
@click.option("--model", type=click.Path(path_type=Path), metavar="RUN",
              help="Run of train-dna; for a table, a file of TitansEmbedder.save or --train.")  # fmt: skip
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True,
              help=".parquet, .npy or .h5ad; of a table .parquet, .npy or .csv")  # fmt: skip
@click.option("--regions", type=click.Path(path_type=Path), help="A vector for each interval of a BED file.")
@click.option(
    "--window",
    type=click.IntRange(1),
    help="A vector for each window of so many bases, or rows.  [default: 4096; of a table, all rows]",
)
@click.option("--stride", type=click.IntRange(1), help="From window to window.  [default: the window]")
@click.option("--per-sequence", is_flag=True, help="A vector for each sequence.")
@click.option("--context", default="contig", show_default=True, help="Bases read before a region: 0, 10k, 1M, contig.")
@click.option("--pool", default="mean", show_default=True, help="mean, max, last or attention.")
@click.option("--layer", type=int, default=-1, show_default=True, help="0 the input, k after block k, -1 the output.")
@click.option("--strand", default="+", show_default=True, help="+, -, both, or region: each on its own.")
@click.option("--chroms", metavar="A,B", help="Only these sequences.")
@click.option("--gap-reset", type=click.IntRange(0), default=10_000, show_default=True,
              help="The memory begins anew behind a longer run of N.")  # fmt: skip
@click.option("--shard", metavar="I/N", help="Part I of N, written to NAME.I-of-N.SUFFIX; see below.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, mps, cuda, cuda:1 ...")
@click.option("--threads", type=click.IntRange(1), help="Of the CPU.  [default: all]")
@series_options
@click.pass_context
def command(ctx: click.Context, **options: Any) -> None:
    """Give every region of a genome, or every series of a table, a vector that knows what came before it.

    GENOME is FASTA (plain, gzip, bgzip), GenBank, or - for standard input. The memory is carried from the first base of
    a sequence to the last, at constant RAM. A run that was stopped goes on where it was.

    \b
    titans-seq embed ecoli.fa.gz --model runs/ecoli --window 4096 --stride 2048 -o windows.parquet
    titans-seq embed ecoli.fa.gz --model runs/ecoli --regions genes.bed --strand region -o genes.npy
    titans-seq embed contigs.fa --model runs/ecoli --per-sequence --pool attention -o contigs.parquet

    \b
    --context 0       a region's first base has nothing before it
    --context 10k     at least 10,000 and less than 20,000 bases before it (all, near the start); costs two passes
    --context contig  all of its sequence before it

    TABLE is CSV or Parquet, long or wide, and gives a vector for each series, or for each window of time: of that
    series' rows up to there alone, each scaled by those before it. Without --model the encoder's weights are drawn,
    always the same ones; --train 200 --model NEW.safetensors first learns to predict the table's next rows.

    \b
    titans-seq embed meters.csv --id-col meter --target-col kwh -o meters.parquet
    titans-seq embed meters.csv --window 168 --stride 24 --train 200 --model meters.safetensors -o weeks.parquet

    --shard 1/8 ... 8/8, on as many machines, or torchrun --nproc-per-node 8 -m titans_seq embed ...: eight parts that
    together are what one process writes, number for number. A shard reads what is its own: sequences, or stretches of
    one where the context is a number. Where a sequence must be cut although all of it is context, and where shards are
    more than pieces (of 262,144 bases on a CPU, 134 million elsewhere), a shard goes on from the memory that the one
    before left beside its part; where that is not there yet, it reads what comes before as well: exact either way, and
    no faster than one process. There, a number as context is what makes shards worth having.
    """
    from importlib import import_module

    from titans_seq.cli.talk import Talk, going_on

    quiet = bool(ctx.find_root().params.get("quiet"))
    series = take_series(ctx, options, of_genomes=_OF_GENOMES)
    inputs = options.pop("inputs")
    if series:
        pipeline = import_module("titans_seq.pipelines.embed_series")
        how = {name: options.pop(name) for name in ("window", "stride", "pool", "layer")}
        with Talk(quiet=quiet) as talk, going_on():
            job = pipeline.prepare(table=Path(inputs[0]), options=take_table(options), **options)
            count, width = pipeline.run(job, **how, watch=talk.watch)
        click.echo(f"{job.out}: {count:,} {_vectors(count)} of {width}, {job.rows:,} rows read")
        return
    pipeline = import_module("titans_seq.pipelines.embed")
    model, out = options.pop("model"), options.pop("out")
    chosen = tuple(name for name in (options.pop("chroms") or "").split(",") if name)
    with Talk(quiet=quiet) as talk, going_on():
        done = pipeline.run(
            inputs, model=model, out=out, options=pipeline.EmbedOptions(chroms=chosen, **options), watch=talk.watch
        )
    count = done["regions"]
    click.echo(f"{done['out']}: {count:,} {_vectors(count)} of {done['width']}, {done['bases']:,} bases read")


def _vectors(count: int) -> str:
    return "vector" if count == 1 else "vectors"
