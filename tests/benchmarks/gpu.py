"""Check and time everything that runs on a GPU, with nothing installed but PyTorch and Triton.

    python tests/benchmarks/gpu.py [--out FILE.json] [--minutes 10]
    python tests/benchmarks/gpu.py --tiles --minutes 20    (beside the rest, other tiles for every kernel)
    python tests/benchmarks/gpu.py --table FILE.json
    python tests/benchmarks/gpu.py --dry-run

from the root of a source tree (the whole models want numpy, too). Compares the chunk form with the token-by-token
definition on the device, the Triton kernels with the chunk form in float64, encoders on the device with encoders on the
CPU, the fused attention with its blocks, and CUDA graphs with plain calls; then times kernels beside the chunk form
(plain and compiled), beside fla where it is installed, attention, the table, and encoders and whole models end to end.
Per shape it also says which share of the time lies in the writes, which go in sequence, one program per row, and which
in what runs in parallel over all chunks, and what becomes of it where several programs share a row (`split`, in a
process of its own, as those wait for each other). It ends with a table for the README; ``--table`` prints that of an
older report. Kernels are compiled beforehand, one process per case. Without a CUDA device it says so and stops; a dry
run walks through every part at tiny sizes on the CPU, under Triton's interpreter, to see that it runs: those times mean
nothing.
"""

from __future__ import annotations

import argparse
import datetime
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.benchmarks import gpu_encoders as encoders
from tests.benchmarks import gpu_kernels as kernels
from tests.benchmarks import gpu_passes as passes
from tests.benchmarks import gpu_split as split
from titans_seq.memory import memory_names, memory_spec
from titans_seq.models import VARIANTS
from titans_seq.ops import Gates, MemoryState, chunkwise, recurrent


def check_memory(name: str, dtype: torch.dtype, device: str) -> dict[str, object]:
    """Chunk form against definition: worst relative error of reads, state and gradients at an odd length."""
    torch.manual_seed(0)
    rule = memory_spec(name).rule(16, 16)
    shape = (2, 2, 131)

    def leaf(x: Tensor) -> Tensor:
        return x.to(device, dtype).requires_grad_()

    q, k = (leaf(torch.nn.functional.normalize(torch.randn(*shape, 16), dim=-1)) for _ in range(2))
    v, rate = leaf(torch.randn(*shape, 16)), leaf(torch.rand(shape) * 0.05)
    forget = leaf(torch.rand(shape) * 0.1) if rule.retention.forgets else None
    momentum = leaf(torch.rand(shape) * 0.8) if rule.momentum else None
    threshold = leaf(torch.rand(shape) + 0.5) if rule.bias.uses_threshold else None
    start = leaf(torch.stack([rule.retention.initial(rule.structure) for _ in range(2)]) + 0.01)
    leaves = [x for x in (q, k, v, rate, forget, momentum, threshold, start) if x is not None]
    gates = Gates(rate, forget, momentum, threshold)
    results = []
    for run in (recurrent, chunkwise):
        y, state = run(q, k, v, gates, MemoryState.fresh(rule, start, 2), rule=rule, chunk_size=16)
        grads = torch.autograd.grad(y.square().sum() + state.weights.square().sum(), leaves)
        results.append([y, state.weights, *grads])
    errors = [encoders.relative(b, a) for a, b in zip(*results, strict=True)]
    return {"memory": name, "dtype": str(dtype), "worst": max(errors)}


Call = tuple[str, Callable[[], dict[str, object]]]


class Report:
    """Rows of the report, each part cut short where the time is up, and every failure kept as a row."""

    def __init__(self, minutes: float) -> None:
        self.end = time.monotonic() + 60 * minutes
        self.parts: dict[str, object] = {}
        self.broken = False

    def rows(self, part: str, calls: Iterable[Call]) -> None:
        found: list[dict[str, object]] = []
        for what, call in calls:
            if time.monotonic() > self.end:
                found.append({"case": what, "skipped": "out of time"})
                continue
            try:
                found.append(call())
            except Exception as error:  # one broken case must not cost the others
                found.append({"case": what, "failed": f"{type(error).__name__}: {error}"[:500]})
            self.note(part, found[-1])
        self.parts[part] = found

    def note(self, part: str, row: dict[str, object]) -> None:
        """Print a row, and remember whether anything failed."""
        self.broken |= "failed" in row or row.get("right") is False
        print(part, json.dumps(row, default=str), file=sys.stderr, flush=True)


def warm_up(count: int, at_once: int = 48) -> None:
    """Compile every case's kernels, in processes side by side; they leave them in Triton's cache."""
    for begin in range(0, count, at_once):
        crowd = [subprocess.Popen([sys.executable, __file__, "--warm", str(i)], stderr=subprocess.DEVNULL)
                 for i in range(begin, min(count, begin + at_once))]  # fmt: skip
        for process in crowd:
            process.wait()


def kernel_parts(report: Report, device: str, tiny: bool, tiles: bool) -> None:
    cases, table = kernels.checks(tiny), kernels.shapes(tiny)
    report.rows("kernels", [(str(c), lambda c=c: kernels.check(c, device)) for c in cases])
    peaks = {p: None if tiny else kernels.matrix_peak(p, device) for p in (torch.bfloat16, torch.float32)}
    report.parts["matrix_peak_tflops"] = {str(p): x for p, x in peaks.items()}
    timed = [(c, b) for b in ("triton", "chunkwise") for c in table]
    report.rows("speed", [(f"{b} {c}", lambda c=c, b=b: kernels.speed(c, b, device, peaks[c.products]))
                          for c, b in timed if b != "triton" or kernels.refused(c, device) is None])  # fmt: skip
    inside = [c for c in table if kernels.refused(c, device) is None]
    report.rows("passes", [(f"passes {c}", lambda c=c: passes.passes(c, device)) for c in inside])
    report.parts["refused"] = [{**c.named(), "reason": kernels.refused(c, device)} for c in [*cases, *table]
                               if kernels.refused(c, device)]  # fmt: skip
    report.rows("peer", [("fla", lambda: kernels.peer(table[0], device))])
    if tiles:
        report.rows("tiles", [(f"{name} {t}", lambda n=name, t=t: passes.time_tiles(table[0], n, t, device))
                              for name, t in passes.alternatives(tiny)])  # fmt: skip


def split_part(report: Report, tiny: bool) -> int:
    """Rows shared by several programs; slices that streams are then timed with, 0 where the barrier does not hold."""
    left = report.end - time.monotonic()
    found = list(split.rows_aside(__file__, tiny, min(240.0, left))) if left > 30 else []
    for row in found:
        report.note("split", row)
    report.parts["split"] = found
    return 0 if tiny or not split.barrier_holds(found) else 8


def encoder_checks(report: Report, device: str, tiny: bool) -> None:
    report.rows("encoders", [(v, lambda v=v: encoders.check_encoder(v, device)) for v in VARIANTS])
    report.rows("graphs", [(v, lambda v=v: encoders.check_replays(v, device)) for v in VARIANTS])
    report.rows("attention", [("flex", lambda: encoders.check_attention(device, tiny))])
    names = [n for n in memory_names() if n != "none"][: 1 if tiny else None]
    kinds = (torch.float64,) if tiny else (torch.float64, torch.float32)
    report.rows("definition", [(n, lambda n=n, d=d: check_memory(n, d, device)) for d in kinds for n in names])


def encoder_times(report: Report, device: str, tiny: bool, slices: int) -> None:
    small, base = encoders.presets(tiny)
    tnt = encoders.sharded(small, shard=16 if tiny else 2048, global_chunk=16 if tiny else 128)
    long, wide = (32, 32) if tiny else (131072, 8192)

    def train(p: encoders.Preset, rows: int, tokens: int, backend: str = "auto") -> Call:
        return f"{p.name} training {backend}", lambda: encoders.train_encoder(p, rows, tokens, backend, device)

    def stream(
        p: encoders.Preset, rows: int, piece: int, backend: str = "auto", graphs: bool = False, slices: int = 0
    ) -> Call:
        what = f"{p.name} x {rows} {backend}{' graphs' if graphs else ''}{f' {slices} slices' if slices else ''}"
        return what, lambda: encoders.stream_encoder(p, rows, piece, backend, device, graphs=graphs, slices=slices)

    shared = [stream(p, 1, n, "triton", g, slices)
              for p, n in ((small, long), (base, long // 4)) for g in (False, True)] if slices else []  # fmt: skip
    report.rows("encoder_speed", [
        train(small, 8, wide), train(tnt, 8, wide), train(base, 2, wide // 2), train(small, 8, wide, "chunkwise"),
        stream(small, 1, long), stream(small, 1, long, graphs=True), stream(small, 64, wide),
        stream(tnt, 1, long), stream(tnt, 64, wide), stream(base, 1, long // 4),
        stream(base, 1, long // 4, graphs=True), stream(base, 64, wide // 8), stream(small, 1, 32 if tiny else 1024),
        stream(small, 1, 32 if tiny else 1024, graphs=True), stream(small, 1, long, "chunkwise"), *shared,
    ])  # fmt: skip
    piece, many = (32, 8) if tiny else (8192, 64)
    whole: list[Call] = []
    for p in (small, base):
        whole += [
            (f"{p.name} training", lambda p=p: encoders.train_model(p, device)),
            (f"{p.name} x 1", lambda p=p: encoders.stream_model(p, 1, piece, 500 * piece, device)),
            (f"{p.name} x {many}", lambda p=p: encoders.stream_model(p, many, piece // 8, 4 * piece, device)),
        ]
        if slices:
            one = {"rows": 1, "piece": piece, "length": 500 * piece, "device": device, "slices": slices}
            whole.append((f"{p.name} x 1 {slices} slices", lambda p=p, one=one: encoders.stream_model(p, **one)))
    report.rows("model_speed", whole)
    report.rows("table", [
        (f"x {rows}", lambda r=rows, n=length: encoders.time_table(r, n, piece // r or 16, device, small.orders))
        for rows, length in ((1, 1000 if tiny else 4_600_000), (64, 1000 if tiny else 200_000))
    ])  # fmt: skip
    report.rows("attention_speed", [
        (f"{k} {rows} x {tokens}", lambda k=k, r=rows, n=tokens: encoders.time_attention(k, r, n, device))
        for k in ("blocks", "flex") for rows, tokens in (((1, 64),) if tiny else ((32, 2048), (1, 32768)))
    ])  # fmt: skip


def readme_table(parts: dict[str, Any]) -> str:
    """What the issue asks for, in markdown: speeds of the memory by shape, beside the chunk form and fla."""
    head = ("memory", "B x H", "T", "backend", "forward + backward, ms", "tokens/s", "TFLOP/s", "share of peak")
    lines = [f"{parts['device']}, {parts['date']}, torch {parts['torch']}", "",
             "| " + " | ".join(head) + " |", "|" + "---|" * len(head)]  # fmt: skip
    rows = [*parts.get("speed", []), *parts.get("beside_compiled", []), *parts.get("peer", [])]
    for row in (r for r in rows if "both_ms" in r):
        kind = f"mlp {row['width']} x {row['hidden']}, depth {row['depth']}" if row["depth"] else "matrix"
        name = row.get("peer") or f"{kind}, {row['gate']}, chunk {row['chunk']}, {row['products']}"
        share = f"{row['both_share']:.0%}" if row.get("both_share") else "-"
        speed = [f"{row[k]:.3g}" if k in row else "-" for k in ("both_ms", "both_tok_s", "both_tflops")]
        cells = [name, row["batch"] * row["heads"], row["tokens"], row.get("backend", "fla"), *speed, share]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    for row in parts.get("model_speed", []):
        if row.get("chromosome_s"):
            lines.append(f"\n{row['model']}, one stream: 250 Mb in {row['chromosome_s']:.0f} s")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="where the JSON goes (default: results/gpu-DATE.json beside this)")
    parser.add_argument("--minutes", type=float, default=9.0, help="start nothing new after this time")
    parser.add_argument(
        "--dry-run", action="store_true", help="every part at tiny sizes on the CPU; nothing is written"
    )
    parser.add_argument("--tiles", action="store_true", help="also time every kernel with other tiles (`limits.tiles`)")
    parser.add_argument("--table", type=Path, metavar="JSON", help="print the README's table of a report, and stop")
    parser.add_argument("--split", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--warm", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.table:
        print(readme_table(json.loads(args.table.read_text())))
        return
    if args.dry_run:
        os.environ["TRITON_INTERPRET"] = "1"  # before triton is imported, which happens where it is first needed
    tiny = kernels.interpreted()
    if not torch.cuda.is_available() and not tiny:
        print("no CUDA device on this machine: nothing to check (--dry-run walks through it)", file=sys.stderr)
        raise SystemExit(1)
    device = "cpu" if tiny else "cuda"
    every = [*kernels.checks(tiny), *kernels.shapes(tiny)]
    if args.warm is not None and args.warm >= len(every):
        split.warm(*split.kinds()[args.warm - len(every)], device)
        return
    if args.warm is not None:
        kernels.check(kernels.replace(every[args.warm], batch=1, heads=1, tokens=2 * every[args.warm].chunk), device)
        return
    torch.backends.cuda.matmul.allow_tf32 = False
    if args.split:
        split.main(device, tiny)
        return
    report, heard = Report(args.minutes), encoders.Heard()
    logging.getLogger("titans_seq").addHandler(heard)
    logging.getLogger("titans_seq").setLevel(logging.INFO)
    report.parts |= {
        "date": datetime.date.today().isoformat(), "torch": torch.__version__,
        "device": "interpreter" if tiny else torch.cuda.get_device_name(), "host": os.uname().nodename,
    }  # fmt: skip
    if not tiny:
        warm_up(len(every) + len(split.kinds()))
    kernel_parts(report, device, tiny, args.tiles or tiny)
    encoder_checks(report, device, tiny)
    encoder_times(report, device, tiny, split_part(report, tiny))
    report.parts["said"] = heard.lines
    if not tiny:
        # Tracing unrolls the loop over chunks: 16 of them compile in about a minute, the 256 do not.
        short = kernels.replace(kernels.Case(), tokens=1024)
        report.rows("beside_compiled", [(b, lambda b=b: kernels.speed(short, b, device, None))
                                        for b in ("triton", "chunkwise", "compiled")])  # fmt: skip
        out = args.out or Path(__file__).parent / "results" / f"gpu-{report.parts['date']}.json"
        out.parent.mkdir(exist_ok=True)
        out.write_text(json.dumps(report.parts, indent=1, default=str))
    print(json.dumps(report.parts, indent=1, default=str))
    print(readme_table(report.parts))
    raise SystemExit(report.broken)


if __name__ == "__main__":
    main()
