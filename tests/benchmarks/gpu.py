"""Check and time everything that runs on a GPU, with nothing installed but PyTorch and Triton.

    python tests/benchmarks/gpu.py [--out FILE.json] [--minutes 10]

from the root of a source tree. Compares the chunk form with the token-by-token definition on the device, the Triton
kernels with the chunk form in float64, and encoders on the device with encoders on the CPU; then times kernels
beside the chunk form (plain and compiled), beside fla where it is installed, and encoders end to end. Kernels are
compiled beforehand, one process per case. Without a CUDA device it says so and stops; with TRITON_INTERPRET=1 it walks
through its kernel part at tiny sizes on the CPU, to see that it runs: those times mean nothing.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.benchmarks import gpu_kernels as kernels
from titans_seq.memory import memory_names, memory_spec
from titans_seq.models import VARIANTS, Encoder
from titans_seq.ops import Gates, MemoryState, chunkwise, recurrent

# The models of configs/dna-small.yaml and configs/dna-base.yaml (read without PyYAML), with the batch that trains them.
SMALL = {"variant": "lmm", "d_model": 128, "n_layers": 2, "n_heads": 2, "chunk_size": 64, "segment": 64, "window": 64}
BASE = {"variant": "mag", "d_model": 512, "n_layers": 8, "n_heads": 8, "chunk_size": 64, "segment": 128, "window": 128}
CHROMOSOME = 250_000_000


def relative(a: Tensor, b: Tensor) -> float:
    return float((a - b).detach().norm() / b.detach().norm().clamp(min=1e-30))


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
    errors = [relative(b, a) for a, b in zip(*results, strict=True)]
    return {"memory": name, "dtype": str(dtype), "worst": max(errors)}


def check_encoder(variant: str, device: str) -> dict[str, object]:
    """The same weights on the CPU and on the device, float64, a stream cut in the middle."""
    torch.manual_seed(0)
    encoder = Encoder(variant=variant, d_model=32, chunk_size=8, segment=16, window=16).double()
    x = torch.randn(2, 200, 32, dtype=torch.float64)
    here, _ = encoder(x)
    encoder.to(device)
    first, state = encoder(x[:, :77].to(device))
    second, _ = encoder(x[:, 77:].to(device), state)
    return {"variant": variant, "worst": relative(torch.cat([first, second], 1).cpu(), here)}


def train_encoder(name: str, settings: dict, batch: int, tokens: int, backend: str) -> dict[str, object]:
    """One step without its optimiser, under bfloat16 autocast."""
    encoder = Encoder(**settings, backend=backend).cuda()
    x = torch.randn(batch, tokens, settings["d_model"], device="cuda", requires_grad=True)

    def step() -> None:
        with torch.autocast("cuda", torch.bfloat16):
            encoder(x)[0].float().square().mean().backward()

    took = kernels.seconds(step, "cuda", 3)
    return {"model": name, "pass": "training", "backend": backend, "rows": batch, "tok_s": batch * tokens / took}


def stream_encoder(name: str, settings: dict, rows: int, piece: int, backend: str) -> dict[str, object]:
    """Pieces of ``rows`` streams with carried state, and what that makes of a chromosome; peak memory per piece."""
    encoder = Encoder(**settings, backend=backend).cuda().eval()
    x, state = torch.randn(rows, piece, settings["d_model"], device="cuda"), None
    peaks: list[int] = []

    def step() -> None:
        nonlocal state
        torch.cuda.reset_peak_memory_stats()
        with torch.no_grad(), torch.autocast("cuda", torch.bfloat16):
            _, state = encoder(x, state)
        peaks.append(torch.cuda.max_memory_allocated() // 2**20)

    rate = rows * piece / kernels.seconds(step, "cuda", 5)
    return {
        "model": name, "pass": "streaming", "backend": backend, "rows": rows, "tok_s": rate,
        "chromosome_s": CHROMOSOME / rate if rows == 1 else None, "peak_mib": peaks[2:],
    }  # fmt: skip


class Report:
    """Rows of the report, each part cut short where the time is up, and every failure kept as a row."""

    def __init__(self, minutes: float) -> None:
        self.end = time.monotonic() + 60 * minutes
        self.parts: dict[str, object] = {}

    def rows(self, part: str, calls: Iterable[tuple[str, Callable[[], dict[str, object]]]]) -> None:
        found: list[dict[str, object]] = []
        for what, call in calls:
            if time.monotonic() > self.end:
                found.append({"case": what, "skipped": "out of time"})
                continue
            try:
                found.append(call())
            except Exception as error:  # one broken case must not cost the others
                found.append({"case": what, "failed": f"{type(error).__name__}: {error}"[:500]})
            print(part, json.dumps(found[-1], default=str), file=sys.stderr, flush=True)
        self.parts[part] = found


def warm_up(count: int) -> None:
    """Compile every case's kernels, in processes side by side; they leave them in Triton's cache."""
    crowd = [subprocess.Popen([sys.executable, __file__, "--warm", str(i)], stderr=subprocess.DEVNULL)
             for i in range(count)]  # fmt: skip
    for process in crowd:
        process.wait()


def kernel_parts(report: Report, device: str, tiny: bool) -> None:
    cases, table = kernels.checks(tiny), kernels.shapes(tiny)
    report.rows("kernels", [(str(c), lambda c=c: kernels.check(c, device)) for c in cases])
    peaks = {p: None if tiny else kernels.matrix_peak(p, device) for p in (torch.bfloat16, torch.float32)}
    report.parts["matrix_peak_tflops"] = {str(p): x for p, x in peaks.items()}
    timed = [(c, b) for b in ("triton", "chunkwise") for c in table]
    report.rows("speed", [(f"{b} {c}", lambda c=c, b=b: kernels.speed(c, b, device, peaks[c.products]))
                          for c, b in timed if b != "triton" or kernels.refused(c, device) is None])  # fmt: skip
    report.parts["refused"] = [{**c.named(), "reason": kernels.refused(c, device)} for c in [*cases, *table]
                               if kernels.refused(c, device)]  # fmt: skip
    if not tiny:
        report.rows("peer", [("fla", lambda: kernels.peer(table[0], device))])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="where the JSON goes (default: results/gpu-DATE.json beside this)")
    parser.add_argument("--minutes", type=float, default=9.0, help="start nothing new after this time")
    parser.add_argument("--warm", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    tiny = kernels.interpreted()
    if not torch.cuda.is_available() and not tiny:
        print("no CUDA device on this machine: nothing to check", file=sys.stderr)
        raise SystemExit(1)
    device = "cpu" if tiny else "cuda"
    every = [*kernels.checks(tiny), *kernels.shapes(tiny)]
    if args.warm is not None:
        kernels.check(kernels.replace(every[args.warm], batch=1, heads=1, tokens=2 * every[args.warm].chunk), device)
        return
    torch.backends.cuda.matmul.allow_tf32 = False
    report = Report(args.minutes)
    report.parts |= {
        "date": datetime.date.today().isoformat(), "torch": torch.__version__,
        "device": "interpreter" if tiny else torch.cuda.get_device_name(), "host": os.uname().nodename,
    }  # fmt: skip
    if tiny:
        kernel_parts(report, device, tiny)
        print(json.dumps(report.parts, indent=1, default=str))
        raise SystemExit(not all(row.get("right") for row in report.parts["kernels"]))  # type: ignore[attr-defined]
    warm_up(len(every))
    names = [n for n in memory_names() if n != "none"]
    kernel_parts(report, device, tiny)
    report.rows("encoder_speed", [
        ("small training", lambda: train_encoder("dna-small", SMALL, 8, 8192, "auto")),
        ("small stream", lambda: stream_encoder("dna-small", SMALL, 1, 131072, "auto")),
        ("small streams", lambda: stream_encoder("dna-small", SMALL, 64, 8192, "auto")),
        ("base training", lambda: train_encoder("dna-base", BASE, 2, 4096, "auto")),
        ("base stream", lambda: stream_encoder("dna-base", BASE, 1, 32768, "auto")),
        ("base streams", lambda: stream_encoder("dna-base", BASE, 64, 1024, "auto")),
        ("small training, chunkwise", lambda: train_encoder("dna-small", SMALL, 8, 8192, "chunkwise")),
        ("small stream, chunkwise", lambda: stream_encoder("dna-small", SMALL, 1, 131072, "chunkwise")),
    ])  # fmt: skip
    report.rows("encoders", [(v, lambda v=v: check_encoder(v, device)) for v in VARIANTS])
    report.rows("definition", [(n, lambda n=n, d=d: check_memory(n, d, device))
                               for d in (torch.float64, torch.float32) for n in names])  # fmt: skip
    # Tracing unrolls the loop over chunks: 16 of them compile in about a minute, the 256 do not.
    short = kernels.replace(kernels.Case(), tokens=1024)
    report.rows("beside_compiled", [(b, lambda b=b: kernels.speed(short, b, device, None))
                                    for b in ("triton", "chunkwise", "compiled")])  # fmt: skip
    out = args.out or Path(__file__).parent / "results" / f"gpu-{report.parts['date']}.json"
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(report.parts, indent=1, default=str))
    print(json.dumps(report.parts, indent=1, default=str))


if __name__ == "__main__":
    main()
