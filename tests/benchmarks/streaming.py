"""Streaming: bases per second beside the machine's matrix rate, exactness under cuts, peak RAM over lengths.

    python -m tests.benchmarks.streaming speed --model runs/ecoli --genome D/ecoli_k12_mg1655.fa.gz
    python -m tests.benchmarks.streaming exact --model runs/ecoli --genome D/scerevisiae_chrIV.fa.gz
    python -m tests.benchmarks.streaming ram --scale 0.01         # 1, 10, 100 Mb times the scale, and short contigs
    python -m tests.benchmarks.streaming ram --cases 1-Mb 10-Mb --model dna-small --set table.megabytes=0

`D` stands for ../shared/data/genomes. `--model` is a run of train-dna, or the name of a preset (random weights: enough
for speed and RAM). Each prints a Markdown table. `ram` starts a process for each row, since a process's peak never
falls; what it reads is made of the genome of `--genome`, repeated.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tests.benchmarks.measure import MIB, REPO, peak_mib
from titans_seq.config import TrainDnaConfig, dump_config, parse_config, preset_names, preset_text
from titans_seq.genomics import decode, open_genome
from titans_seq.ops.native.room import keep_freed_memory
from titans_seq.streaming import DnaModel, Session, open_dna_model
from titans_seq.tasks.build import build_next_base
from titans_seq.tensor_files import save_tensors

ECOLI = Path("../shared/data/genomes/ecoli_k12_mg1655.fa.gz")


CASES = {
    "1-Mb": (1e6, 1),
    "10-Mb": (1e7, 1),
    "100-Mb": (1e8, 1),
    "ten-of-10-Mb": (1e7, 10),
    "200,000-of-300": (300, 200_000),
}
"""Bases of a contig, and how many of them, of the rows of `ram`."""


def run_folder(name: str, folder: Path, *overrides: str) -> Path:
    """A run by path, or a preset with random weights written to ``folder``."""
    if name not in preset_names():
        return Path(name)
    config = parse_config(TrainDnaConfig, preset_text(name), source=name, overrides=overrides)
    torch.manual_seed(0)
    task = build_next_base(config)
    save_tensors(folder / "model.safetensors", task.state_dict(), metadata={"config": dump_config(config)})
    return folder


def matrix_rate(threads: int) -> float:
    """FLOP/s of a product of the widest projection's shape, with as many processes' worth of threads as are used."""
    torch.set_num_threads(threads)
    a, b, best = torch.randn(4096, 128), torch.randn(128, 704), 0.0
    for _ in range(20):
        start = time.perf_counter()
        for _ in range(5):
            a @ b
        best = max(best, 5 * 2 * 4096 * 128 * 704 / (time.perf_counter() - start))
    return best


class Products(TorchDispatchMode):
    """Counts every matrix product, in place or not (torch's own counter leaves ``baddbmm_`` out)."""

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__.rstrip("_")
        # Without gradients `linear` and `matmul` arrive here whole.
        if name in ("mm", "bmm", "matmul", "linear", "addmm", "baddbmm"):
            a, b = args[1:3] if name.endswith("addmm") or name == "baddbmm" else args[:2]
            self.flops += 2 * a.numel() * b.shape[0 if name == "linear" else -1]
        return func(*args, **(kwargs or {}))


def flops_per_base(model: DnaModel) -> float:
    """Multiplications and additions of the matrix products of one base that run."""
    session, tokens = Session(model), torch.randint(0, 4, (4096,))
    session.feed(tokens)
    with Products() as counter:
        session.feed(tokens)
    return counter.flops / 4096


def speed(options: argparse.Namespace, folder: Path) -> None:
    """`titans-seq embed` over a whole genome, start of the process to its end."""
    run = run_folder(options.model, folder)
    needed = flops_per_base(open_dna_model(run))
    rate = matrix_rate(1)
    print("| strand | threads | bases | seconds | CPU seconds | bases/s | GFLOP/s | of one core's products |")
    print("|---|---|---|---|---|---|---|---|")
    for strand in options.strands:
        out = folder / "out.npy"
        command = [sys.executable, "-m", "titans_seq", "-q", "embed", str(options.genome), "--model", str(run), "-o",
                   str(out), "--window", "4096", "--stride", "2048", "--strand", strand, "--threads",
                   str(options.threads), "--device", "cpu"]  # fmt: skip
        before, start = os.times(), time.perf_counter()
        done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=True)
        seconds, after = time.perf_counter() - start, os.times()
        cpu = after.children_user + after.children_system - before.children_user - before.children_system
        bases = int(done.stdout.split(" bases read")[0].rpartition(" ")[2].replace(",", ""))
        work = needed * bases
        print(
            f"| {strand} | {options.threads} | {bases:,} | {seconds:.0f} | {cpu:.0f} | {bases / seconds:,.0f} | "
            f"{work / seconds / 1e9:.0f} | {work / cpu / rate:.0%} per CPU second |", flush=True,
        )  # fmt: skip
    print(f"\n{needed / 1e6:.2f} MFLOP a base; one core's products {rate / 1e9:.0f} GFLOP/s.")


def exact(options: argparse.Namespace, folder: Path) -> None:
    """Every base's vector and loss, in whole calls and in random pieces, over whole contigs."""
    model = open_dna_model(run_folder(options.model, folder))
    genome, random = open_genome(options.genome), np.random.default_rng(0)
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    print("| contig | bases | pieces | largest difference of a vector | of a loss | windows of 4,096, mean |")
    print("|---|---|---|---|---|---|")
    for name in genome.names[: options.contigs]:
        tokens = genome.tokens(name)[: options.most]
        whole, cut = Session(model, call=8192, expect=len(tokens)), Session(model, expect=len(tokens))  # as `embed`
        worst, pieces = [0.0, 0.0, 0.0], 0
        for start in range(0, len(tokens), 65536):
            block = tokens[start : start + 65536]
            wanted, parts = whole.feed(block), []
            while sum(p.loss.shape[1] for p in parts) < len(block):
                at = sum(p.loss.shape[1] for p in parts)
                size = int(np.exp(random.uniform(0, np.log(20_000))))
                parts.append(cut.feed(block[at : at + size]))
                pieces += 1
            found = type(wanted).join(parts)
            assert found.vectors is not None
            assert wanted.vectors is not None
            gap = found.vectors - wanted.vectors
            means = [float(piece.mean(1).abs().max()) for piece in gap.split(4096, 1)]
            losses = (found.loss - wanted.loss).abs().nan_to_num()
            worst = [max(w, v) for w, v in zip(worst, (float(gap.abs().max()), float(losses.max()), *[max(means)]),
                                               strict=True)]  # fmt: skip
        print(
            f"| {name} | {len(tokens):,} | {pieces:,} | {worst[0]:.1e} | {worst[1]:.1e} | {worst[2]:.1e} |", flush=True
        )


def made_of(source: Path, path: Path, *, contig: int, count: int) -> None:
    """A FASTA of ``count`` contigs of ``contig`` bases, from a genome that is repeated."""
    genome = open_genome(source)
    letters = "".join(decode(genome.tokens(name)) for name in genome.names).encode()
    at = 0
    with path.open("wb") as file:
        for number in range(count):
            file.write(b">c%d\n" % number)
            left = contig
            while left:
                part = letters[at : at + left]
                file.write(part)
                left -= len(part)
                at = (at + len(part)) % len(letters)
            file.write(b"\n")


def ram(options: argparse.Namespace, folder: Path) -> None:
    """Peak RAM of `titans-seq embed` in processes of their own, over inputs of many sizes."""
    run = run_folder(options.model, folder, *options.set)
    print(
        "| input | bases | vectors | peak RAM, MiB | at each quarter | seconds | CPU seconds | bases per CPU second |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for name in options.cases:
        contig, count = CASES[name]
        contig, count = (contig, count * options.scale) if contig == 300 else (contig * options.scale, count)
        path = folder / "made.fa"
        made_of(options.genome, path, contig=round(contig), count=max(1, round(count)))
        case = {"fasta": str(path), "run": str(run), "out": str(folder / "out.npy"), "threads": options.threads}
        done = subprocess.run([sys.executable, "-m", "tests.benchmarks.streaming", "one", "--case", json.dumps(case)],
                              cwd=REPO, capture_output=True, text=True)  # fmt: skip
        if done.returncode:
            print(f"| {name} | failed: {done.stderr.strip().splitlines()[-1]} |")
            continue
        found = json.loads(done.stdout.splitlines()[-1])
        quarters = " ".join(f"{value:.0f}" for value in found["quarters"])
        print(
            f"| {name} | {found['bases']:,} | {found['regions']:,} | {found['mib']:.0f} | {quarters} | "
            f"{found['seconds']:.0f} | {found['cpu']:.0f} | {found['bases'] / found['cpu']:,.0f} |", flush=True,
        )  # fmt: skip


def one(options: argparse.Namespace, folder: Path) -> None:
    """One row of `ram`: embed, then say how much RAM was held at most, and at each quarter of the way."""
    from titans_seq.pipelines import embed

    case, quarters = json.loads(options.case), []

    def watch(stage: str, done: float, total: float, note: str) -> None:
        if stage == "embed" and done >= total * (len(quarters) + 1) / 4:
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            quarters.append(pages * os.sysconf("SC_PAGE_SIZE") / MIB)

    start = time.perf_counter()
    done = embed.run(
        [case["fasta"]], model=Path(case["run"]), out=Path(case["out"]), watch=watch,
        options=embed.EmbedOptions(window=32768, threads=case["threads"], device="cpu"),
    )  # fmt: skip
    found = {"seconds": time.perf_counter() - start, "cpu": time.process_time(), "quarters": quarters}
    print(json.dumps({"bases": done["bases"], "regions": done["regions"], "mib": peak_mib(), **found}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs: dict[str, Callable[[argparse.Namespace, Path], None]] = {
        "speed": speed, "exact": exact, "ram": ram, "one": one,
    }  # fmt: skip
    parser.add_argument("what", choices=verbs)
    parser.add_argument("--model", default="dna-tiny", help="a run folder, or a preset with random weights")
    parser.add_argument("--genome", type=Path, default=ECOLI)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--strands", nargs="+", default=["+"], help="of `speed`")
    parser.add_argument("--contigs", type=int, default=1, help="of `exact`: how many of the genome's")
    parser.add_argument("--most", type=int, default=None, help="of `exact`: bases of a contig, at most")
    parser.add_argument("--scale", type=float, default=1.0, help="of `ram`")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES), help="of `ram`")
    parser.add_argument("--set", action="append", default=[], help="of `ram`: a setting of the preset")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        os.environ.setdefault("XDG_CACHE_HOME", str(Path(name) / "cache"))
        verbs[options.what](options, Path(name))


if __name__ == "__main__":
    main()
