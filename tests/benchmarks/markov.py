"""Cheap baselines for next-base prediction on a genome: bits per base on the held-out end, overall and by class.

    python tests/benchmarks/markov.py            # E. coli K-12 of ../shared/data, last 20 % after the first 80 %

Every coder has read everything before each base. `rest` is what is neither rRNA nor repeat (mobile element).
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from titans_seq.genomics import CLASS_NAMES, class_track, open_genome, read_annotation, split_by_fraction
from titans_seq.metrics import markov_bits, mean_bits, mixture_bits

GENOMES = Path("../shared/data/genomes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--genome", type=Path, default=GENOMES / "ecoli_k12_mg1655.fa.gz")
    parser.add_argument("--annotation", type=Path, default=GENOMES / "ecoli_k12_mg1655.gff3.gz")
    parser.add_argument("--orders", type=int, nargs="*", default=[2, 4, 6, 8, 10, 11, 12, 16])
    options = parser.parse_args()

    genome = open_genome(options.genome)
    contig = max(genome.contigs, key=lambda found: found.length)
    tokens = genome.tokens(contig.name)
    held_out = next(s for s in split_by_fraction(genome, 0.2).valid if s.contig == contig.name)
    track = class_track(read_annotation(options.annotation), contig.name, contig.length)[held_out.start :]
    rrna, repeat = (track == CLASS_NAMES.index(name) for name in ("rRNA", "repeat"))
    print(f"{contig.name}: {contig.length} bases, held out {len(held_out)}, rRNA {rrna.sum()}, repeat {repeat.sum()}")
    print(f"{'coder':28s} {'whole':>7s} {'last 20 %':>16s} {'rRNA':>6s} {'repeat':>6s} {'rest':>7s} {'s':>6s}")

    def row(name: str, code: Callable[[], npt.NDArray[np.float32]]) -> None:
        start = time.perf_counter()
        bits = code()
        seconds = time.perf_counter() - start
        last = bits[held_out.start :]
        whole = mean_bits(last)
        parts = [mean_bits(np.where(mask, last, np.nan)).mean for mask in (rrna, repeat, ~(rrna | repeat))]
        print(
            f"{name:28s} {np.nanmean(bits):7.4f} {whole.mean:7.4f} +- {whole.error:.4f} "
            f"{parts[0]:6.3f} {parts[1]:6.3f} {parts[2]:7.4f} {seconds:6.1f}",
            flush=True,
        )

    for inverted in (False, True):
        words = " + inverted repeats" if inverted else ""
        for order in options.orders:
            row(f"order {order}{words}", lambda k=order, i=inverted: markov_bits(tokens, order=k, inverted_repeats=i))  # type: ignore[misc]
        row(f"mixture{words}", lambda i=inverted: mixture_bits(tokens, inverted_repeats=i))  # type: ignore[misc]
    print(f"peak RSS {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GB")


if __name__ == "__main__":
    main()
