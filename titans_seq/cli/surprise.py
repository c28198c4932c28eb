"""`titans-seq surprise`: a genome browser's track of what a model did not expect."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


@click.command("surprise", no_args_is_help=True)
@click.argument("genome", metavar="GENOME")
@click.option("--model", required=True, type=click.Path(path_type=Path), help="Run folder of train-dna.")
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path),
              help="Track: .bw, .bedgraph or .bedgraph.gz.")  # fmt: skip
@click.option("--what", default="loss", show_default=True, help="loss, gradient, write, forget or gain.")
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
@click.pass_context
def command(ctx: click.Context, genome: str, chroms: str, **options: Any) -> None:
    """Write how surprised a model was along GENOME (FASTA, plain or gzip, GenBank, or - for standard input).

    \b
    loss      bits that each base cost, given all before it
    gradient  length of the memory's surprise
    write     length of what each base wrote into the memory
    forget    share of the memory that each base made it forget
    gain      bits saved by the memory carried from the contig's start, against one begun afresh
              in every window: what this chromosome taught the model

    --shard 1/8 ... 8/8, on as many machines, or torchrun --nproc-per-node 8 -m titans_seq surprise ...: eight parts
    that together are what one process writes, number for number. A shard reads contigs of its own, or stretches of a
    contig where the context is a number. Where a contig must be cut although all of it is context, a later shard
    also reads, from the start, what comes before its part (on --strand - what comes behind it): exact, but no faster.

    A run that was killed goes on, with the same command, behind the contigs that were finished.

    \b
    titans-seq surprise ecoli.fa.gz --model runs/ecoli-dna-small -o loss.bw
    titans-seq surprise ecoli.fa.gz --model runs/ecoli-dna-small --what gain --bin 128 -o gain.bedgraph.gz
    """
    from importlib import import_module

    from titans_seq.cli.talk import Talk

    pipeline = import_module("titans_seq.pipelines.surprise")
    names = [name for name in chroms.split(",") if name]
    with Talk(quiet=bool(ctx.find_root().params.get("quiet"))) as talk:
        job = pipeline.prepare(genome=genome, chroms=names, watch=talk.watch, **options)
        pipeline.run(job, watch=talk.watch)
    click.echo(job.out)
