"""What one human genome, and ten thousand bacterial genomes, cost: hours, dollars, bytes; and what breaks first.

    python -m tests.benchmarks.costs --write                    # measure the rates here, about two minutes; keep them
    python -m tests.benchmarks.costs --rates tests/benchmarks/results/costs-DATE.json --read 250000    # take them

Measured here, on one thread, with a preset's model of random weights (which are as fast as trained ones): bases read a
second (with the table of a bacterium and with that of a chromosome, both nearly empty: a full one misses the
processor's cache more often), bases labelled a second, bases trained on a second; bytes of a vector's row in Parquet,
of a track's bin in bigWig, of a gene in GFF3, of a base in the token store, of a snapshot. Dollars are assumptions, and
arguments. Everything else is arithmetic, and stands in `scenarios`.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields, replace
from datetime import date
from functools import partial
from pathlib import Path

import numpy as np
import torch

from titans_seq.config import TrainDnaConfig, TrainRegionsConfig, parse_config, preset_text
from titans_seq.genomics import BaseStreams, Stretch, open_genome
from titans_seq.genomics.embedding_table import EmbeddingTable, write_embeddings
from titans_seq.genomics.gff_writer import Prediction, gff3_text
from titans_seq.genomics.intervals import windows
from titans_seq.genomics.tracks import write_track
from titans_seq.memory.table_layout import Layout
from titans_seq.streaming import Session
from titans_seq.tasks.build import build_next_base
from titans_seq.tasks.build_regions import build_base_labels
from titans_seq.tasks.label_scan import scan
from titans_seq.tasks.next_base import NextBase

RESULTS = Path(__file__).parent / "results"
HUMAN, CHR1 = 3_099_734_149, 248_956_422
"""Bases of GRCh38 and of its chromosome 1 (NCBI GCF_000001405)."""
BACTERIUM, GENES = 4_641_652, 4_300
"""Bases and genes of E. coli K-12 MG1655."""
MANY, CALL = 10_000, 4096


@dataclass(frozen=True)
class Rates:
    """What was measured: bases a second and thread, and bytes."""

    read: float = 0.0
    read_long: float = 0.0
    label: float = 0.0
    train: float = 0.0
    row_bytes: float = 0.0
    bin_bytes: float = 0.0
    gene_bytes: float = 0.0
    store_bytes: float = 0.0
    snapshot_bytes: float = 0.0
    table_bytes: float = 0.0
    table_bytes_long: float = 0.0
    label_bytes: float = 25.0


def timed(work: Callable[[], object], *, most: float) -> float:
    """Seconds of processor time of the fastest of several goes within ``most`` seconds, after one that warms up.

    On one thread that is the time by the clock of a machine that does nothing else.
    """
    work()
    best, begin = float("inf"), time.process_time()
    while best == float("inf") or time.process_time() - begin < most:
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return best


def measure(genome_path: Path, *, preset: str, labels: str, seconds: float, folder: Path) -> Rates:
    """Measure everything, each within about ``seconds``."""
    torch.manual_seed(0)
    config = parse_config(TrainDnaConfig, preset_text(preset), source=preset)
    genome = open_genome(genome_path)
    tokens = genome.tokens(genome.names[0])
    task = build_next_base(config).eval()
    bytes_of: dict[str, float] = {}
    rates: dict[str, float] = {}
    for name, expected in (("read", BACTERIUM), ("read_long", CHR1)):
        session = Session(task, layer=-1, expect=expected)
        pieces = itertools.cycle(range(0, len(tokens) - CALL, CALL))
        rates[name] = CALL / timed(partial(_feed, session, tokens, pieces), most=seconds)
        if name == "read":
            session.save(folder / "snapshot.safetensors")
            bytes_of["snapshot_bytes"] = (folder / "snapshot.safetensors").stat().st_size
        bytes_of["table_bytes" if name == "read" else "table_bytes_long"] = _table_bytes(task, expected)
        vectors = session.feed(tokens[:CALL]).vectors
        del session
    assert vectors is not None
    bytes_of |= _outputs(genome_path, vectors[0].numpy(), folder)
    rates["train"] = _training(task.train(), config, genome_path, seconds)
    regions = parse_config(TrainRegionsConfig, preset_text(labels), source=labels)
    labeller, length = build_base_labels(regions).eval(), regions.blocks.length
    rates["label"] = length / timed(lambda: list(scan(labeller, tokens[:length], length=length)), most=seconds)
    return Rates(**rates, **bytes_of)


def _feed(session: Session, tokens: np.ndarray, pieces: Iterator[int]) -> None:
    at = next(pieces)
    session.feed(tokens[at : at + CALL])


def _table_bytes(task: NextBase, expected: int) -> float:
    return 0.0 if task.mixing is None else float(Layout(task.mixing.table.spec, expected).bytes)


def _training(task: NextBase, config: TrainDnaConfig, genome_path: Path, seconds: float) -> float:
    """Bases a second of forward, backward and step, as in the loop."""
    settings, genome = config.streams, open_genome(genome_path)
    whole = [Stretch(contig.name, 0, contig.length) for contig in genome.contigs]
    streams = BaseStreams(genome, whole, batch=settings.rows, segment=settings.length, border=task.encoder.border,
                          gap_reset=settings.gap_reset, both_strands=settings.strands == "both", seed=0)  # fmt: skip
    task.expect(streams.longest)
    optimiser = torch.optim.AdamW(task.parameters(), lr=1e-3)
    state = None

    def step() -> None:
        nonlocal state
        found = task.cost(next(streams), state=state, device=torch.device("cpu"))
        state = found.state.detach()
        optimiser.zero_grad()
        (found.total / found.targets).backward()
        optimiser.step()

    return settings.rows * settings.length / timed(step, most=seconds)


def _outputs(genome_path: Path, vectors: np.ndarray, folder: Path) -> dict[str, float]:
    """Bytes of what is written, by writing some of it."""
    genome, random = open_genome(genome_path), np.random.default_rng(0)
    rows = windows(genome, genome.names[:1], window=64, stride=64).take(np.arange(4096))
    write_embeddings(folder / "v.parquet", EmbeddingTable(
        rows, genome.names, np.full(len(rows), "+"), lambda start, stop: vectors[start:stop], vectors.shape[1]
    ))  # fmt: skip
    bins, size = 50_000, 32
    means = random.gamma(4.0, 0.45, bins).astype(np.float32)
    write_track(folder / "t.bw", {"c": bins * size}, [("c", means)], size=size)
    notes = {"start_probability": "0.9876"}
    genes = [Prediction("NC_000913.3", at * 1000, at * 1000 + 900, 1, "CDS", 0.99, notes=notes) for at in range(1000)]
    text = gff3_text(genes, {"NC_000913.3": 10**6 + 900}, source="titans-seq-0.1.0", table=11)
    return {
        "row_bytes": (folder / "v.parquet").stat().st_size / len(rows),
        "bin_bytes": (folder / "t.bw").stat().st_size / bins,
        "gene_bytes": len(text) / len(genes),
        "store_bytes": _store_bytes(genome.total),
    }


def _store_bytes(bases: int) -> float:
    cache = Path(os.environ["XDG_CACHE_HOME"])
    return sum(path.stat().st_size for path in cache.rglob("*") if path.is_file()) / bases


@dataclass(frozen=True)
class Prices:
    """Assumptions, in dollars: a core for an hour, a gigabyte of disk for a month; and how many cores there are."""

    core_hour: float = 0.04
    gigabyte_month: float = 0.023
    cores: int = 16


@dataclass(frozen=True)
class Job:
    """Bases that are read, at which rate; bytes written; bytes of RAM of a process; hours that no core can share."""

    name: str
    bases: float
    rate: float
    written: float = 0.0
    ram: float = 0.0
    alone: float = 0.0

    def row(self, prices: Prices) -> str:
        """Markdown."""
        hours = self.bases / self.rate / 3600 if self.bases else 0.0
        cells = [self.name, f"{hours:,.1f}", f"{max(hours / prices.cores, self.alone):,.1f}",
                 f"{hours * prices.core_hour:,.2f}", _size(self.written),
                 f"{self.written / 1e9 * prices.gigabyte_month:,.2f}", _size(self.ram)]  # fmt: skip
        return "| " + " | ".join(cells) + " |"


def scenarios(r: Rates, *, window: int, size: int) -> dict[str, list[Job]]:
    """Every job of both, from the rates."""
    human, bacteria = float(HUMAN), float(MANY * BACTERIUM)
    chain = CHR1 / r.read_long / 3600
    rows, bins = human / window * r.row_bytes, human / size * r.bin_bytes
    return {
        "one human genome": [
            Job("token store", 0, 0, human * r.store_bytes),
            Job("embed, whole chromosomes", human, r.read_long, rows, r.table_bytes_long, chain),
            Job("embed, --context 1M, any number of shards", 2 * human, r.read, rows, r.table_bytes),
            Job(
                "surprise, both strands, whole chromosomes", 2 * human, r.read_long, bins, 2 * r.table_bytes_long, chain
            ),
            Job("train-dna, one pass over both strands", 2 * human, r.train),
        ],
        "ten thousand bacterial genomes": [
            Job("token stores", 0, 0, bacteria * r.store_bytes),
            Job("annotate", bacteria, r.label, MANY * GENES * r.gene_bytes, BACTERIUM * r.label_bytes),
            Job("embed", bacteria, r.read, bacteria / window * r.row_bytes, r.table_bytes),
            Job("surprise", bacteria, r.read, bacteria / size * r.bin_bytes, r.table_bytes),
            Job("train-dna, one pass over both strands", 2 * bacteria, r.train),
        ],
    }


def breaks_first(r: Rates, *, cores: int) -> list[str]:
    """The limits that are met before money is, in figures."""
    return [
        f"A memory that is carried is read in order: chromosome 1 takes {CHR1 / r.read_long / 3600:,.1f} h on one "
        f"thread whatever is bought, and with more than {HUMAN / CHR1:.0f} processes a human genome is no faster.",
        f"RAM: {cores} processes of embed hold {cores * r.table_bytes_long / 1e9:,.0f} GB of tables on human "
        f"chromosomes, {cores * r.table_bytes / 1e9:,.0f} GB on bacteria; annotate holds "
        f"{CHR1 * r.label_bytes / 1e9:,.1f} GB for chromosome 1.",
        f"The table is at its limit of {r.table_bytes_long / 1e9:.2f} GB: chromosome 1 brings "
        f"{CHR1 / BACTERIUM:.0f} times the contexts that {r.table_bytes / 1e9:.2f} GB hold for a bacterium, so old "
        "ones are lost.",
        f"Snapshots of ten thousand bacteria are {MANY * r.snapshot_bytes / 1e12:,.1f} TB, more than all results.",
    ]


def table(jobs: list[Job], prices: Prices) -> str:
    """Markdown."""
    head = ["job", "core hours", f"hours on {prices.cores} cores", "dollars", "written", "dollars a month", "RAM"]
    return "\n".join(["| " + " | ".join(head) + " |", "|---" * len(head) + "|", *(job.row(prices) for job in jobs)])


def _size(count: float) -> str:
    for unit, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB")):
        if count >= unit:
            return f"{count / unit:,.1f} {name}"
    return f"{count / 1e3:,.0f} kB" if count else "-"


def main() -> None:
    """Measure or take the rates, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    genomes = Path("../shared/data/genomes")
    parser.add_argument("--genome", type=Path, default=genomes / "ecoli_k12_mg1655.fa.gz")
    parser.add_argument("--preset", default="dna-small")
    parser.add_argument("--labels", default="regions-small")
    parser.add_argument("--seconds", type=float, default=8.0, help="for each measurement")
    parser.add_argument("--rates", type=Path, help="a JSON of --write; nothing is measured then")
    parser.add_argument("--write", action="store_true", help="keep the rates in results/")
    parser.add_argument("--window", type=int, default=4096)
    parser.add_argument("--bin", type=int, default=32)
    parser.add_argument("--cores", type=int, default=Prices.cores)
    parser.add_argument("--core-hour", type=float, default=Prices.core_hour)
    parser.add_argument("--gigabyte-month", type=float, default=Prices.gigabyte_month)
    for field in fields(Rates):
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=float, help="in place of what was measured")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    if chosen.rates:
        rates = Rates(**json.loads(chosen.rates.read_text())["rates"])
    else:
        with tempfile.TemporaryDirectory() as folder:
            os.environ["XDG_CACHE_HOME"] = f"{folder}/cache"
            rates = measure(chosen.genome, preset=chosen.preset, labels=chosen.labels, seconds=chosen.seconds,
                            folder=Path(folder))  # fmt: skip
    if chosen.write:
        note = {"machine": platform.processor() or platform.machine(), "preset": chosen.preset, "rates": asdict(rates)}
        (RESULTS / f"costs-{date.today()}.json").write_text(json.dumps(note, indent=1) + "\n")
    given = {field.name: getattr(chosen, field.name) for field in fields(Rates)}
    rates = replace(rates, **{name: value for name, value in given.items() if value is not None})
    print("| rate | of one thread |\n|---|---|")
    print("\n".join(f"| {name.replace('_', ' ')} | {value:,.1f} |" for name, value in asdict(rates).items()))
    prices = Prices(chosen.core_hour, chosen.gigabyte_month, chosen.cores)
    for name, rows in scenarios(rates, window=chosen.window, size=chosen.bin).items():
        print(f"\n### {name}\n\n{table(rows, prices)}")
    print("\n### What breaks first\n")
    print(
        "\n".join(f"{number}. {line}" for number, line in enumerate(breaks_first(rates, cores=prices.cores), start=1))
    )


if __name__ == "__main__":
    main()
