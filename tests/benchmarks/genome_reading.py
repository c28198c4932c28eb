"""How fast a genome is read whole: our token store against pyfaidx and biopython, and the peak RAM on a large file.

    python tests/benchmarks/genome_reading.py --genome ../shared/data/genomes/ecoli_k12_mg1655.fa.gz
    python tests/benchmarks/genome_reading.py --copies 20      # also that genome twenty times over, as 20 contigs
    python tests/benchmarks/genome_reading.py --gigabase       # a synthetic 1 Gb FASTA, peak RSS of a fresh process

Best and median of `--repeats` runs in one process, from a file in the page cache to all bases in RAM (pyfaidx,
biopython) or in the store (ours, with numpy alone as well). pyfaidx is shown with its index built in the same run, as a
first reading needs, and with the index already there. The load is printed; where other jobs want the cores, run it
under ``chrt -f 1``.
"""

from __future__ import annotations

import argparse
import gzip
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import NamedTuple
from unittest import mock

import numpy as np
from Bio import bgzf

from titans_seq.genomics import scan_native

ECOLI = Path("../shared/data/genomes/ecoli_k12_mg1655.fa.gz")


class Times(NamedTuple):
    """Wall time in seconds, and the bases that were seen."""

    best: float
    median: float
    bases: int


def timed(run: Callable[[], int], repeats: int, before: Callable[[], None] = lambda: None) -> Times:
    times = []
    for _ in range(repeats):
        before()
        start = time.perf_counter()
        bases = run()
        times.append(time.perf_counter() - start)
    return Times(min(times), median(times), bases)


def ours(path: Path, cache: Path) -> int:
    from titans_seq.genomics import open_genome

    return open_genome(path, cache_dir=cache).total


def with_numpy(path: Path, cache: Path) -> int:
    with mock.patch.object(scan_native, "library", return_value=None):
        return ours(path, cache)


def with_pyfaidx(path: Path) -> int:
    import pyfaidx

    with pyfaidx.Fasta(str(path)) as fasta:
        return sum(len(record[:].seq) for record in fasta)


def with_biopython(path: Path) -> int:
    from Bio import SeqIO

    with gzip.open(path, "rt") if path.suffix in (".gz", ".bgz") else path.open() as stream:
        return sum(len(record.seq) for record in SeqIO.parse(stream, "fasta"))


def compare(path: Path, repeats: int, folder: Path) -> None:
    """Print one row per reader."""
    cache = folder / "cache"

    def forget() -> None:
        shutil.rmtree(cache, ignore_errors=True)
        for index in folder.glob("*.fai"):
            index.unlink()
        for index in folder.glob("*.gzi"):
            index.unlink()

    rows = [
        ("titans-seq, file to store", timed(lambda: ours(path, cache), repeats, forget)),
        ("titans-seq, numpy alone", timed(lambda: with_numpy(path, cache), repeats, forget)),
        ("pyfaidx, index built", timed(lambda: with_pyfaidx(path), repeats, forget)),
        ("pyfaidx, index there", timed(lambda: with_pyfaidx(path), repeats)),
        ("biopython SeqIO", timed(lambda: with_biopython(path), repeats)),
    ]
    for name, times in rows:
        print(
            f"{path.name:24s} {name:26s} best {times.best * 1e3:8.1f} ms, median {times.median * 1e3:8.1f}; "
            f"{times.bases / times.best / 1e6:8.1f} Mb/s; best is {times.best / rows[0][1].best:5.1f} x ours, "
            f"median {times.median / rows[0][1].median:5.1f}"
        )
    forget()
    afresh(path, cache)


def gigabase(folder: Path, size: int) -> None:
    """Write a synthetic FASTA of `size` bases with N and lower case, read it in a fresh process, print time and RSS."""
    path = folder / "large.fa"
    rng = np.random.default_rng(0)
    letters = np.frombuffer(b"ACGTacgt", dtype=np.uint8)
    with path.open("wb") as stream:
        for chromosome in range(10):
            stream.write(b">chr%d\n" % chromosome)
            for _ in range(max(size // 10 // 6_000_000, 1)):
                lines = np.full((100_000, 61), 10, dtype=np.uint8)
                low = (np.arange(100_000) // 37 % 2)[:, None] * 4
                lines[:, :60] = letters[rng.integers(0, 4, (100_000, 60), dtype=np.uint8) + low.astype(np.uint8)]
                lines[500:700, :60] = ord("N")
                stream.write(lines.tobytes())
    afresh(path, folder / "cache")


def afresh(path: Path, cache: Path) -> None:
    """Read a file in a process of its own; print time and peak RSS."""
    code = (
        "import sys, time; from titans_seq.genomics import open_genome;"
        # What getrusage counts on Linux begins with the peak of the process that started this one.
        "peak = lambda: int(open('/proc/self/status').read().split('VmHWM:')[1].split()[0]) / 1024;"
        "before, start, cpu = peak(), time.perf_counter(), time.process_time();"
        "genome = open_genome(sys.argv[1], cache_dir=sys.argv[2]); seconds = time.perf_counter() - start;"
        "cpu = time.process_time() - cpu;"
        "print(f'in a process of its own: {genome.total / 1e6:.1f} Mb in {seconds:.3f} s ({cpu:.3f} s of processor '"
        "f'time), {genome.total / seconds / 1e6:.0f} Mb/s, peak RSS {peak():.0f} MB ({before:.0f} before reading)')"
    )
    print(subprocess.check_output([sys.executable, "-c", code, str(path), str(cache)], text=True), end="")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--genome", type=Path, default=ECOLI, help="bgzip or gzip FASTA")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--copies", type=int, default=0, help="also a plain file of so many copies")
    parser.add_argument("--gigabase", action="store_true", help="also a synthetic file")
    parser.add_argument("--size", type=int, default=1_000_000_000, help="bases of the synthetic file")
    options = parser.parse_args()
    print(f"reader: {scan_native.load()[1]}; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        packed = folder / options.genome.name
        shutil.copy(options.genome, packed)
        plain = packed.with_suffix("")
        with gzip.open(packed) as source, plain.open("wb") as target:
            shutil.copyfileobj(source, target)
        for path in (plain, packed):
            compare(path, options.repeats, folder)
        if options.copies:
            _, _, sequence = plain.read_bytes().partition(b"\n")
            many = folder / f"{options.copies}_times.fa"
            many.write_bytes(b"".join(b">copy%d\n%s" % (number, sequence) for number in range(options.copies)))
            packed = many.with_suffix(".fa.bgz")
            with bgzf.open(packed, "wb") as target:
                target.write(many.read_bytes())
            for path in (many, packed):
                compare(path, max(options.repeats // 3, 3), folder)
        if options.gigabase:
            gigabase(folder, options.size)


if __name__ == "__main__":
    main()
