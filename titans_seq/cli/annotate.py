"""`titans-seq annotate`: genes and other features of a genome, by a model of train-regions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


@click.command("annotate", no_args_is_help=True)
@click.argument("genome", metavar="GENOME")
@click.option("--model", type=click.Path(path_type=Path), required=True, metavar="RUN", help="Run of train-regions.")
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help=".gff3, .bed, .bw or .bedgraph[.gz]")
@click.option("--classes", metavar="A,B", default="", help="Classes to write, of the model's.  [default: all]")
@click.option("--strand", type=click.Choice(["+", "-", "both"]), default="+", show_default=True,
              help="Of a track; both takes the higher probability.")  # fmt: skip
@click.option("--bin", "bin_size", type=click.IntRange(1), default=1, show_default=True, help="Bases of a track's bin.")
@click.option("--table", type=int, help="NCBI translation table.  [default: the model's]")
@click.option("--min-length", type=click.IntRange(30), help="Shortest gene in bases.  [default: the model's]")
@click.option("--adapt", type=click.IntRange(0), default=0, show_default=True,
              help="Rounds of fitting codon counts to this genome's own genes; 2 for another species.")  # fmt: skip
@click.option("--read-first", is_flag=True, help="Let the memory read the whole genome before it annotates.")
@click.option("--chroms", metavar="A,B", default="", help="These contigs only.")
@click.option("--shard", metavar="I/N", help="Part I of N, written to NAME.I-of-N.SUFFIX; see below.")
@click.option("--threads", type=click.IntRange(1), help="Threads of the CPU.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, mps, cuda, cuda:1 ...")
@click.pass_context
def command(ctx: click.Context, genome: str, model: Path, out: Path, classes: str, chroms: str, **options: Any) -> None:
    """Annotate GENOME: FASTA (plain, gzip, bgzip), GenBank, or - for standard input.

    GFF3 holds a gene and a CDS for each gene (with introns: an mRNA between them, and a CDS row for each part), partial
    ones marked, and one row for every other feature; it counts from 1, BED and tracks from 0. A track is the
    probability of one class.

    --shard 1/8 ... 8/8, or torchrun --nproc-per-node 8 -m titans_seq annotate ...: eight parts that together are what
    one process writes. Contigs are divided by length. Where shards are more than contigs, a contig is cut: each of its
    shards reads all of it, since its genes are decoded together, and writes the features that begin in its part (of a
    track, the part itself, and it reads no further): exact, but no faster. --adapt and --read-first see a shard's own
    contigs alone.

    \b
    titans-seq annotate genome.fa.gz --model runs/ecoli-regions-small -o genes.gff3
    titans-seq annotate other.fa --model runs/ecoli-regions-small --adapt 2 -o other.gff3
    titans-seq annotate genome.fa.gz --model runs/ecoli-regions-small --classes CDS --strand both -o coding.bw
    """
    from importlib import import_module

    from titans_seq.cli.talk import Talk

    pipeline = import_module("titans_seq.pipelines.annotate")
    with Talk(quiet=bool(ctx.find_root().params.get("quiet"))) as talk:
        contigs = [name for name in chroms.split(",") if name]
        names = [name.strip() for name in classes.split(",") if name.strip()]
        job = pipeline.prepare(genome=genome, model=model, out=out, classes=names, chroms=contigs, **options)
        found = pipeline.run(job, watch=talk.watch)
    click.echo(f"{job.out}: " + ", ".join(f"{count:,} {kind}" for kind, count in found.items()), err=True)
