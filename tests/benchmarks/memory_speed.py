"""Speed and memory of the Titans memory, ours beside titans-pytorch in the same run.

    python -m tests.benchmarks.memory_speed              everything, about ten minutes on two quiet cores
    python -m tests.benchmarks.memory_speed --quick      tiny sizes: does it run at all?

Needs the extra `bench`. Prints Markdown tables to standard output, progress to standard error.
"""

from __future__ import annotations

import argparse
import logging
import os
import platform
from dataclasses import dataclass, replace
from importlib.metadata import version

from tests.benchmarks.flops import bmm_flops, forward_flops, train_flops
from tests.benchmarks.measure import MIB, Case, PassError, Result, measure
from tests.benchmarks.passes import CHUNK

log = logging.getLogger("memory_speed")
WIDTHS = ((128, 2), (256, 4))


@dataclass(frozen=True)
class Plan:
    """The sizes of one run of the benchmark."""

    base: Case
    beside: int = 1024
    long: tuple[int, int] = (4096, 65536)
    stream: tuple[int, int] = (65536, 262144)
    peer: bool = True

    def case(self, who: str, width: tuple[int, int], tokens: int, mode: str, dtype: str = "float32") -> Case:
        return replace(self.base, who=who, width=width[0], heads=width[1], tokens=tokens, mode=mode, dtype=dtype)


def attempt(case: Case) -> Result | None:
    """A measurement, or nothing and a line in the log."""
    log.info("%s %d x %d, %d tokens, %s, %s", case.who, case.width, case.heads, case.tokens, case.mode, case.dtype)
    try:
        result = measure(case)
    except PassError as error:
        log.error("  failed: %s", error)
        return None
    if not result.finite:
        log.error("  not finite")
    return result


def rate(case: Case, result: Result | None) -> str:
    return f"{case.tokens / result.seconds:,.0f}" if result else "-"


def quotient(a: float | None, b: float | None) -> str:
    return f"{a / b:.3g}" if a is not None and b else "-"


def row(*cells: object) -> None:
    print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)


def head(title: str, *columns: str) -> None:
    print(f"\n{title}\n")
    row(*columns)
    row(*["---"] * len(columns))


def beside_the_peer(plan: Plan) -> None:
    """Both at the same length: speed by wall clock and by processor time, and memory."""
    head(
        f"Beside titans-pytorch, {plan.beside:,} tokens",
        *("width x heads", "pass", "peer tok/s", "ours tok/s", "ratio", "ratio by CPU time"),
        *("peer MiB", "ours MiB", "ours / peer"),
    )
    for width in WIDTHS:
        for mode, label in (("infer", "forward"), ("train", "forward + backward")):
            case = plan.case("ours", width, plan.beside, mode)
            ours = attempt(case)
            peer = attempt(replace(case, who="peer")) if plan.peer else None
            row(
                *(f"{width[0]} x {width[1]}", label, rate(case, peer), rate(case, ours)),
                quotient(peer and peer.seconds, ours and ours.seconds),
                quotient(peer and peer.cpu_seconds, ours and ours.cpu_seconds),
                *(f"{r.mib:,.0f}" if r else "-" for r in (peer, ours)),
                quotient(ours and ours.mib, peer and peer.mib),
            )


def over_length(plan: Plan) -> None:
    """Ours alone: does speed hold and memory grow in line when the sequence is long?"""
    head(
        "Ours over length, forward + backward",
        *("width x heads", "type", "tokens", "forward tok/s", "fwd + bwd tok/s", "(fwd + bwd) / fwd", "peak MiB"),
        *("bytes per token", "GFLOP/s forward", "GFLOP/s fwd + bwd"),
    )
    for width in WIDTHS:
        for dtype in ("float32", "bfloat16"):
            before: tuple[int, float] | None = None
            for tokens in plan.long:
                case = plan.case("ours", width, tokens, "train", dtype)
                forward, train = attempt(replace(case, mode="infer")), attempt(case)
                slope = "-"
                if train and before:
                    slope = f"{(train.mib - before[1]) * MIB / (tokens - before[0]):,.0f}"
                before = (tokens, train.mib) if train else None
                sizes = (tokens, width[1], width[0] // width[1], 4 * (width[0] // width[1]), CHUNK)
                row(
                    *(f"{width[0]} x {width[1]}", dtype, f"{tokens:,}", rate(case, forward), rate(case, train)),
                    quotient(train and train.seconds, forward and forward.seconds),
                    *(f"{train.mib:,.0f}" if train else "-", slope),
                    gflops(forward_flops(*sizes), forward),
                    gflops(train_flops(*sizes), train),
                )


def gflops(operations: float, result: Result | None) -> str:
    return f"{operations / result.seconds / 1e9:.1f}" if result else "-"


def streamed(plan: Plan) -> None:
    """Inference in pieces with the state carried: the peak must not grow."""
    head("Ours streamed, no gradients", "width x heads", "tokens", "piece", "tok/s", "peak MiB")
    for width in WIDTHS:
        for tokens in plan.stream:
            case = replace(plan.case("ours", width, tokens, "stream"), most=1, budget=0.0)
            result = attempt(case)
            mib = f"{result.mib:,.0f}" if result else "-"
            row(f"{width[0]} x {width[1]}", f"{tokens:,}", f"{case.piece:,}", rate(case, result), mib)


def machine(plan: Plan) -> None:
    """What this machine does with the same shapes and nothing else: the limit for the GFLOP/s above."""
    head("Batched products alone, (heads, 64, 64) x (heads, 64, 256)", "width x heads", "type", "GFLOP/s")
    for width in WIDTHS:
        for dtype in ("float32", "bfloat16"):
            case = plan.case("bmm", width, plan.long[-1], "infer", dtype)
            wide = width[0] // width[1]
            operations = bmm_flops(case.tokens, case.heads, wide, 4 * wide)
            row(f"{width[0]} x {width[1]}", dtype, gflops(operations, attempt(case)))


def describe(plan: Plan) -> None:
    peers = ("torch", *(["titans-pytorch"] if plan.peer else []))
    versions = ", ".join(f"{name} {version(name)}" for name in peers)
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    print(f"{platform.machine()}, {os.cpu_count()} cores, {plan.base.threads} threads{load}; {versions}; batch 1.")
    print("Medians of repeated passes after one warm-up, each row in a process of its own; MiB above importing.")


def main() -> None:
    """Read the options, run the parts that were asked for, in the order of the tables."""
    parts = {"peer": beside_the_peer, "length": over_length, "stream": streamed, "machine": machine}
    parser = argparse.ArgumentParser(prog="memory_speed", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="part", help=f"which tables: {', '.join(parts)} (default: all)")
    parser.add_argument("--keep", action="store_true", help="both keep the memory that they free, as our commands do")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, one repeat")
    parser.add_argument("--no-peer", action="store_true", help="leave titans-pytorch out")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--budget", type=float, default=20.0, help="seconds to spend on the repeats of one measurement")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(parts):
        parser.error(f"unknown part {', '.join(sorted(unknown))}; known: {', '.join(parts)}")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")

    base = Case("ours", 128, 2, 1024, "train", threads=options.threads, budget=options.budget, keep=options.keep)
    plan = Plan(base, peer=not options.no_peer)
    if options.quick:
        base = replace(base, budget=0.0, most=1, piece=64)
        plan = Plan(base, beside=64, long=(64, 256), stream=(256, 512), peer=plan.peer)
    describe(plan)
    for name in options.parts or parts:
        parts[name](plan)


if __name__ == "__main__":
    main()
