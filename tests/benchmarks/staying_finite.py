"""Does a long stream stay finite? A million real bases through every encoder and every named memory.

`python -m tests.benchmarks.staying_finite` streams the first million bases of E. coli as one sequence, at random
weights and after a short training with carried state, and prints the size of the fast weights on the way.
Needs ../shared/data.
"""

from __future__ import annotations

import argparse
import gzip
import json
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from titans_seq import Encoder, memory_names

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "genomes" / "ecoli_k12_mg1655.fa.gz"
RESULTS = Path(__file__).parent / "results"


class Model(nn.Module):
    """Base embedding, encoder, head."""

    def __init__(self, variant: str, memory: str, *, layers: int, chunk: int) -> None:
        super().__init__()
        self.encoder = Encoder(
            variant=variant, memory=memory, d_model=32, n_layers=layers, n_heads=2, chunk_size=chunk, segment=2 * chunk,
            window=32,
        )  # fmt: skip
        self.embed, self.head = nn.Embedding(5, 32), nn.Linear(32, 4)


def bases(count: int) -> Tensor:
    with gzip.open(DATA, "rt") as file:
        next(file)
        text = "".join(line.strip() for line in file)[:count].upper()
    table = torch.full((256,), 4, dtype=torch.long)
    table[torch.tensor([ord(c) for c in "ACGT"])] = torch.arange(4)
    return table[torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8).long()]


def train(model: Model, tokens: Tensor, *, steps: int) -> float:
    """Next-base prediction on 8 streams of 512-token segments with carried state; last loss in bits."""
    rows = tokens[: 8 * (len(tokens) // 8)].view(8, -1)
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3)
    state, bits = None, 0.0
    for step in range(steps):
        piece = rows[:, step * 512 : step * 512 + 513]
        y, state = model.encoder(model.embed(piece[:, :-1]), None if state is None else state.detach())
        loss = nn.functional.cross_entropy(model.head(y).flatten(0, 1), piece[:, 1:].flatten())
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        bits = float(loss.detach()) / 0.6931
    return bits


@torch.no_grad()
def stream(model: Model, tokens: Tensor, *, piece: int = 8192) -> dict[str, object]:
    """Stream all tokens; fast-weight size at a tenth, a half and the end, and the largest output seen."""
    start, state, largest, finite = time.monotonic(), None, 0.0, True
    marks, sizes = [len(tokens) // 10, len(tokens) // 2, len(tokens)], []
    for at in range(0, len(tokens), piece):
        y, state = model.encoder(model.embed(tokens[None, at : at + piece]), state)
        largest = max(largest, float(y.abs().max()))
        finite = finite and bool(torch.isfinite(y).all())
        if at + piece >= marks[len(sizes)]:
            parts = [t for name, t in state.tensors().items() if name.endswith("weights")]
            sizes.append(round(max((float(p.norm(dim=-1).max()) for p in parts), default=0.0), 3))
            finite = finite and all(bool(torch.isfinite(t).all()) for t in state.tensors().values())
    seconds = time.monotonic() - start
    return {
        "finite": finite, "weights": sizes, "largest_output": round(largest, 2),
        "tokens_per_s": round(len(tokens) / seconds),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bases", type=int, default=1_000_000)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--chunk", type=int, default=64)
    parser.add_argument("--only", nargs="*", help="names of memories or encoders")
    parser.add_argument("--out", default="staying_finite")
    args = parser.parse_args()
    torch.set_num_threads(1)
    tokens = bases(args.bases)
    cases = [("lmm", name, 1) for name in memory_names() if name != "none"]
    cases += [(variant, "titans_lmm", 2) for variant in ("lmm", "mac", "mag", "mal", "hybrid")]
    RESULTS.mkdir(exist_ok=True)
    print(f"{'encoder':8}{'memory':18}{'when':9}{'finite':8}{'|W| at 10 %, 50 %, end':30}{'max |y|':>9}{'tok/s':>9}")
    rows = []
    for variant, memory, layers in cases:
        if args.only and memory not in args.only and variant not in args.only:
            continue
        torch.manual_seed(0)
        model = Model(variant, memory, layers=layers, chunk=args.chunk)
        for when in ("random", "trained"):
            bits = train(model, tokens, steps=args.steps) if when == "trained" else None
            r = {"encoder": variant, "memory": memory, "layers": layers, "when": when, "bits": bits}
            r |= stream(model, tokens)
            rows.append(r)
            sizes = ", ".join(f"{s:g}" for s in r["weights"])  # type: ignore[attr-defined]
            print(f"{variant:8}{memory:18}{when:9}{r['finite']!s:8}{sizes:30}{r['largest_output']:9}{r['tokens_per_s']:9}",
                  flush=True)  # fmt: skip
            (RESULTS / f"{args.out}.json").write_text(json.dumps({"bases": args.bases, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
