"""How fast a genome is read whole: our token store against pyfaidx and biopython, and the peak RAM on a large file.

    python tests/benchmarks/genome_reading.py --genome ../shared/data/genomes/ecoli_k12_mg1655.fa.gz
    python tests/benchmarks/genome_reading.py --copies 20      # also that genome twenty times over, as 20 contigs
    python tests/benchmarks/genome_reading.py --gigabase       # a synthetic 1 Gb FASTA, peak RSS of a fresh process

Every figure is the best of `--repeats` runs in one process, from a file in the page cache to all bases in RAM (pyfaidx,
biopython) or in the store (ours). pyfaidx is shown with its index built in the same run, as a first reading needs, and
with the index already there.
"""

from __future__ import annotations

import argparse
import gzip
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

ECOLI = Path("../shared/data/genomes/ecoli_k12_mg1655.fa.gz")


def best(run: Callable[[], int], repeats: int, before: Callable[[], None] = lambda: None) -> tuple[float, int]:
    """Shortest wall time of `run` in seconds, and the bases it saw."""
    times = []
    for _ in range(repeats):
        before()
        start = time.perf_counter()
        bases = run()
        times.append(time.perf_counter() - start)
    return min(times), bases


def ours(path: Path, cache: Path) -> int:
    from titans_seq.genomics import open_genome

    return open_genome(path, cache_dir=cache).total


def with_pyfaidx(path: Path) -> int:
    import pyfaidx

    with pyfaidx.Fasta(str(path)) as fasta:
        return sum(len(record[:].seq) for record in fasta)


def with_biopython(path: Path) -> int:
    from Bio import SeqIO

    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as stream:
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
        ("titans-seq, file to store", best(lambda: ours(path, cache), repeats, forget)),
        ("pyfaidx, index built", best(lambda: with_pyfaidx(path), repeats, forget)),
        ("pyfaidx, index there", best(lambda: with_pyfaidx(path), repeats)),
        ("biopython SeqIO", best(lambda: with_biopython(path), repeats)),
    ]
    for name, (seconds, bases) in rows:
        ratio = seconds / rows[0][1][0]
        print(
            f"{path.name:28s} {name:28s} {seconds * 1e3:9.1f} ms {bases / seconds / 1e6:9.1f} Mb/s {ratio:7.1f} x ours"
        )


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
    code = (
        "import sys, time; from titans_seq.genomics import open_genome;"
        # What getrusage counts on Linux begins with the peak of the process that started this one.
        "peak = lambda: int(open('/proc/self/status').read().split('VmHWM:')[1].split()[0]) / 1024;"
        "before, start, cpu = peak(), time.perf_counter(), time.process_time();"
        "genome = open_genome(sys.argv[1], cache_dir=sys.argv[2]); seconds = time.perf_counter() - start;"
        "cpu = time.process_time() - cpu;"
        "print(f'{genome.total / 1e6:.0f} Mb in {seconds:.1f} s ({cpu:.1f} s of processor time), '"
        "f'{genome.total / seconds / 1e6:.0f} Mb/s, peak RSS {peak():.0f} MB ({before:.0f} MB before reading)')"
    )
    print(subprocess.check_output([sys.executable, "-c", code, str(path), str(folder / "cache")], text=True), end="")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--genome", type=Path, default=ECOLI, help="bgzip or gzip FASTA")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--copies", type=int, default=0, help="also a plain file of so many copies")
    parser.add_argument("--gigabase", action="store_true", help="also a synthetic file")
    parser.add_argument("--size", type=int, default=1_000_000_000, help="bases of the synthetic file")
    options = parser.parse_args()
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
            compare(many, max(options.repeats // 3, 3), folder)
        if options.gigabase:
            gigabase(folder, options.size)


if __name__ == "__main__":
    main()
