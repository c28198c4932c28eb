"""Associative recall across a distance: write key-value pairs, read filler, ask for the values.

`python -m tests.benchmarks.recall --memory titans_lmm` trains a 2-layer encoder (one memory layer, one layer of
attention over 16 tokens) for a stated time and measures recall at long gaps, with the memory on and off. Pairs are
written once, filler tokens are random, and the queries come in another order; chance is one in 32. `--forget-init`
sets how much the memory forgets per token before training. `python -m tests.benchmarks.recall_table` draws the curves.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from titans_seq import Encoder, EncoderState

KEYS, VALUES, FILLER = 64, 32, 32
VOCABULARY = KEYS + VALUES + FILLER
RESULTS = Path(__file__).parent / "results"


class Model(nn.Module):
    """Embedding, encoder, head."""

    def __init__(self, **encoder: object) -> None:
        super().__init__()
        self.encoder = Encoder(**encoder)  # type: ignore[arg-type]
        self.embed = nn.Embedding(VOCABULARY, self.encoder.d_model)
        self.head = nn.Linear(self.encoder.d_model, VALUES)

    def forward(self, tokens: Tensor, state: EncoderState | None = None) -> tuple[Tensor, EncoderState]:
        y, state = self.encoder(self.embed(tokens), state)
        return self.head(y), state  # type: ignore[return-value]


def filler(rows: int, length: int, generator: torch.Generator) -> Tensor:
    return torch.randint(KEYS + VALUES, VOCABULARY, (rows, length), generator=generator)


def pairs(rows: int, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens that state ``count`` pairs with two filler tokens between, the keys, and the values (rows, count)."""
    keys = torch.stack([torch.randperm(KEYS, generator=generator)[:count] for _ in range(rows)])
    values = torch.randint(0, VALUES, (rows, count), generator=generator)
    between = filler(rows, 2 * count, generator).view(rows, count, 2)
    return torch.cat([keys[..., None], values[..., None] + KEYS, between], -1).flatten(1), keys, values


def questions(keys: Tensor, values: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The keys in another order, each followed by a filler token, and the values that belong to them."""
    rows, count = keys.shape
    order = torch.stack([torch.randperm(count, generator=generator) for _ in range(rows)])
    asked = torch.stack([keys.gather(1, order), filler(rows, count, generator)], -1).flatten(1)
    return asked, values.gather(1, order)


def train(model: Model, *, seconds: float, most: int, count: int, seed: int) -> dict[str, float]:
    """Train on gaps that grow to ``most`` as accuracy allows, for ``seconds`` of processor time; long ones
    with fewer rows.

    Gaps longer than the training segments teach the gates to let go of nothing: the horizon of training, not the
    memory's size, decides how far recall reaches.
    """
    generator = torch.Generator().manual_seed(seed)
    matrices = [p for p in model.parameters() if p.ndim > 1]
    rest = [p for p in model.parameters() if p.ndim <= 1]
    optimiser = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.01}, {"params": rest, "weight_decay": 0.0}], lr=3e-3, betas=(0.9, 0.98)
    )
    start, step, smooth, reach = time.process_time(), 0, 0.0, 16
    while (spent := time.process_time() - start) < seconds:
        share = spent / seconds
        for group in optimiser.param_groups:
            group["lr"] = 3e-3 * min(1.0, (step + 1) / 50) * (1.0 if share < 0.6 else max(0.02, (1 - share) / 0.4))
        gap = int(torch.randint(0, reach + 1, (), generator=generator))
        rows = max(2, min(32, 32 * 192 // (gap + 64)))  # about the same tokens in every step
        stated, keys, values = pairs(rows, count, generator)
        asked, wanted = questions(keys, values, generator)
        tokens = torch.cat([stated, filler(rows, gap, generator), asked], 1)
        logits = model(tokens)[0][:, -2 * count :: 2]
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), wanted.flatten())
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        right = float((logits.argmax(-1) == wanted).float().mean())
        smooth += 0.05 * (right - smooth)
        if smooth > 0.85 and reach < most:
            reach = min(most, reach * 2)
            smooth = 0.6
        step += 1
    return {"steps": step, "reach": reach, "train_accuracy": round(smooth, 4)}


@torch.no_grad()
def measure(
    model: Model, gaps: list[int], *, count: int, rows: int, seed: int, say: Callable[[str], None]
) -> list[dict[str, float]]:
    """Accuracy after each gap (ascending): one stream per row, asked at every gap from a fork of its state.

    Stops once two gaps in a row are at chance (at most 1 in 8 right, of 1 in 32 by guessing): nothing comes back.
    """
    generator = torch.Generator().manual_seed(seed)
    stated, keys, values = pairs(rows, count, generator)
    _, state = model(stated)
    at, lost, results, start = 0, 0, [], time.monotonic()
    for gap in gaps:
        if lost == 2:
            break
        while at < gap:
            piece = min(4096, gap - at)
            _, state = model(filler(rows, piece, generator), state)
            at += piece
        asked, wanted = questions(keys, values, generator)
        logits, _ = model(asked, state)
        with model.encoder.memory_off():
            silent, _ = model(asked, state)
        on, off = (float((z[:, ::2].argmax(-1) == wanted).float().mean()) for z in (logits, silent))
        finite = bool(torch.isfinite(logits).all())
        results.append({"gap": gap, "on": round(on, 4), "off": round(off, 4), "finite": finite})
        lost = lost + 1 if on <= 0.125 else 0
        say(f"  gap {gap:>9,}: on {on:.3f}  off {off:.3f}  ({time.monotonic() - start:.0f} s)")
    return results


def run(memory: str, args: argparse.Namespace) -> dict[str, object]:
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    shape = {
        "variant": args.variant, "memory": memory, "d_model": args.d_model, "n_layers": 2, "n_heads": 2,
        "chunk_size": args.chunk, "segment": args.chunk * 2, "window": args.window, "forget_init": args.forget_init,
    }  # fmt: skip
    model = Model(**shape)
    trained = train(model, seconds=args.seconds, most=args.most, count=args.pairs, seed=args.seed + 1)
    print(memory, shape, trained, flush=True)
    model.eval()

    def say(text: str) -> None:
        print(text, flush=True)

    far = measure(model, args.gaps, count=args.pairs, rows=args.rows, seed=args.seed + 2, say=say)
    counts = [
        {"pairs": n, "gap": 512, **measure(model, [512], count=n, rows=32, seed=args.seed + 3, say=say)[0]}
        for n in args.counts
    ]
    return {"memory": memory, "shape": shape, "seconds": args.seconds, **trained, "gaps": far, "pairs": counts}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memory", nargs="+", default=["titans_lmm", "deltanet", "gated_deltanet"])
    parser.add_argument("--variant", default="hybrid")
    parser.add_argument("--seconds", type=float, default=150, help="processor time of training")
    parser.add_argument("--most", type=int, default=2048, help="longest gap in training")
    parser.add_argument("--pairs", type=int, default=8)
    parser.add_argument("--gaps", type=int, nargs="+", default=[128, 256, 512, 1024, 2048, 8192])
    parser.add_argument("--counts", type=int, nargs="*", default=[])
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--chunk", type=int, default=16)
    parser.add_argument("--window", type=int, default=16)
    parser.add_argument("--d-model", type=int, default=64)
    parser.add_argument("--forget-init", type=float, default=1e-6)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", default="recall")
    args = parser.parse_args()
    for memory in args.memory:
        result = run(memory, args)
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{args.out}-{memory}.json").write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
