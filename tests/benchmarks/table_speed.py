"""How fast the table reads and writes, alone, with its mixture, and as a share of a training step; on one core.

    python -m tests.benchmarks.table_speed                        # prints Markdown for LOG.md
    TITANS_SEQ_NATIVE=0 python -m tests.benchmarks.table_speed    # the definitions in torch instead of compiled code

A token is read once for each order, and once for each copy; "lookups" counts both. Writing is included: each order
finds two slots a token on one strand (what it reads, what it writes) and three on both, which the last column counts.
Seconds are of the processor, not of the clock, and of the quickest calls, so that a busy machine says about the same;
what others do to the memory it shares stays in.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch

from titans_seq.config import TrainDnaConfig
from titans_seq.config.load import parse_config
from titans_seq.config.presets import preset_text
from titans_seq.memory.table import Table
from titans_seq.memory.table_layout import TableSpec
from titans_seq.ops.native import load
from titans_seq.tasks.build import build_next_base
from titans_seq.tasks.mixing import TableMixing
from titans_seq.tasks.next_base import nats_per_base
from titans_seq.training.optimiser import build_optimiser

CPU = torch.device("cpu")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=60, help="calls that are timed; the quickest quarter counts")
    parser.add_argument("--call", type=int, default=512, help="tokens of a call in each row")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(f"Compiled kernels: {load()[1]}.\n")
    print("| strands | rows | stream of | MB a row | tokens/s = lookups/s and order | lookups/s | slots/s and order |")
    print("|---|---|---|---|---|---|---|")
    for strands in (2, 1):
        spec = TableSpec() if strands == 2 else TableSpec(complement=None)
        for rows, length in ((1, 200_000), (1, 4_600_000), (8, 900_000), (32, 200_000)):
            print(f"| {strands} {alone(spec, rows, length, calls=options.calls, call=options.call)}", flush=True)
    print("\n| one stream of 4.6 M, width 128 | bases/s |")
    print("|---|---|")
    print(mixed(calls=options.calls, call=options.call), flush=True)
    print("\n| training step, dna-small, 8 x 512 | ms |")
    print("|---|---|")
    print(training(calls=max(4, options.calls // 6)), flush=True)


def quickest(call: Callable[[], object], calls: int) -> float:
    """Mean seconds of the quickest quarter of so many calls."""
    call()
    spent = []
    for _ in range(calls):
        began = time.process_time()
        call()
        spent.append(time.process_time() - began)
    best = sorted(spent)[: max(1, calls // 4)]
    return sum(best) / len(best)


def alone(spec: TableSpec, rows: int, length: int, *, calls: int, call: int) -> str:
    """A row of the first table."""
    table = Table(spec)
    state = table.initial_state(rows, tokens=length)
    stream = torch.randint(0, 4, (rows, call * (calls + 1))).split(call, dim=1)
    parts = iter(stream)
    speed = rows * call / quickest(lambda: table.read(next(parts), state), calls)
    lookups = len(table.spec.orders) + len(table.spec.followed)
    size = state.layout.bytes / 1e6
    slots = speed * (1 + len(spec.strands))
    return f"| {rows} | {length:,} | {size:,.0f} | {speed:,.0f} | {speed * lookups:,.0f} | {slots:,.0f} |"


@torch.no_grad()
def mixed(*, calls: int, call: int) -> str:
    """The table, what it adds to the encoder's input, and the mixture at the logits, without the encoder."""
    mixing = TableMixing(TableSpec(), d_model=128).eval()
    mixing.expected = 4_600_000
    state = mixing.initial_state(1, device=CPU)
    hidden, logits = torch.randn(1, call, 128), torch.randn(1, call, 4)
    mask = torch.ones(1, call, dtype=torch.bool)

    def step() -> None:
        nonlocal state
        tokens = torch.randint(0, 4, (1, call))
        experts, state = mixing.read(tokens, mask, state)
        mixing.input(experts.features, None)
        mixing.mix(logits, mixing.gate(hidden), experts, tokens=tokens, mask=mask, state=state)

    return f"| table and mixture | {call / quickest(step, calls):,.0f} |"


def training(*, calls: int) -> str:
    """Forward, backward and the optimiser's step of the preset, with and without its table."""
    spent = {megabytes: training_step(megabytes, calls=calls) * 1e3 for megabytes in (0, 1024)}
    share = 1 - spent[0] / spent[1024]
    return f"| without the table | {spent[0]:.0f} |\n| with it | {spent[1024]:.0f} |\n| its share | {share:.0%} |"


def training_step(megabytes: int, *, calls: int) -> float:
    """Seconds."""
    config = parse_config(
        TrainDnaConfig, preset_text("dna-small"), source="dna-small", overrides=[f"table.megabytes={megabytes}"]
    )
    task = build_next_base(config).train()
    task.expect(900_000)
    optimiser = build_optimiser(task, config.optimiser)
    state = None

    def step() -> None:
        nonlocal state
        tokens = torch.randint(0, 4, (8, 513))
        logits, after = task(tokens[:, :-1], state=state)
        optimiser.zero_grad(set_to_none=True)
        nats_per_base(logits, tokens[:, 1:], tokens[:, 1:] < 4).mean().backward()
        torch.nn.utils.clip_grad_norm_(task.parameters(), config.optimiser.clip)
        optimiser.step()
        state = after.detach()

    return quickest(step, calls)


if __name__ == "__main__":
    main()
