"""What `titans-seq repeats` finds, against what the annotation knows: rRNA operons and mobile elements of E. coli.

    python -m tests.benchmarks.repeats                       # needs ../shared/data/genomes; some minutes on one core
    python -m tests.benchmarks.repeats --bed repeats.bed     # of a search that was made before

A feature counts as found where the copies, or what they are copies of, cover at least half of it. A feature that has
no like of its own kind in the genome (a prophage, a single insertion sequence) cannot be found by any search.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from titans_seq.pipelines import repeats

from titans_seq.genomics import open_genome, read_annotation

GENOMES = Path(__file__).resolve().parents[3] / "shared" / "data" / "genomes"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bed", type=Path)
    options = parser.parse_args()
    fasta = str(GENOMES / "ecoli_k12_mg1655.fa.gz")
    genome = open_genome(fasta)
    contig = genome.contigs[0]
    with tempfile.TemporaryDirectory() as folder:
        bed = options.bed or Path(folder) / "repeats.bed"
        if options.bed is None:
            began = time.perf_counter()
            found = repeats.run([fasta], out=bed)
            seconds = time.perf_counter() - began
            print(f"{found['repeats']:,} repeats, {found['bases']:,} bases, {seconds:.0f} s, "
                  f"{contig.length / seconds:,.0f} bases/s")  # fmt: skip
        copies, like = marks(bed, contig.length)
    features = read_annotation(GENOMES / "ecoli_k12_mg1655.gff3.gz")
    print("| feature | number | found | bases | in a copy | in a copy or its like |\n|---|---|---|---|---|---|")
    for kind in ("rRNA", "mobile_genetic_element"):
        rows = features.select(types=[kind])
        spans = list(zip(rows.start.tolist(), rows.end.tolist(), strict=True))
        inside = np.zeros(contig.length, dtype=bool)
        for start, end in spans:
            inside[start:end] = True
        hit = sum(bool((copies | like)[start:end].mean() >= 0.5) for start, end in spans)
        shares = [part[inside].mean() for part in (copies, copies | like)]
        print(f"| {kind} | {len(spans)} | {hit} | {inside.sum():,} | {shares[0]:.1%} | {shares[1]:.1%} |")


def marks(bed: Path, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Bases of the copies, and of what they are copies of."""
    copies, like = np.zeros(length, dtype=bool), np.zeros(length, dtype=bool)
    for line in bed.read_text().splitlines():
        if not line.startswith("#"):
            fields = line.split("\t")
            copies[int(fields[1]) : int(fields[2])] = True
            like[int(fields[7]) : int(fields[8])] = True
    return copies, like


if __name__ == "__main__":
    main()
