"""How fast the table reads and writes: tokens and lookups a second on one core, by rows and size.

    python -m tests.benchmarks.table_speed                    # prints Markdown for LOG.md
    python -m tests.benchmarks.table_speed --tokens 200000    # of each row

A token is one lookup for each order, and one for each copy; "lookups" counts both. Writing, on both strands, is
included. Seconds are of the processor, not of the clock, so that a busy machine says about the same.
"""

from __future__ import annotations

import argparse
import time

import torch

from titans_seq.memory.table import Table
from titans_seq.memory.table_layout import TableSpec


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=40_000, help="read in each row and timed")
    parser.add_argument("--call", type=int, default=512)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("| rows | stream of | MB a row | tokens/s | lookups/s | lookups/s and order |")
    print("|---|---|---|---|---|---|")
    for rows, length in ((1, 200_000), (1, 4_600_000), (8, 200_000), (8, 900_000), (32, 200_000)):
        print(measured(rows, length, tokens=options.tokens, call=options.call), flush=True)


def measured(rows: int, length: int, *, tokens: int, call: int) -> str:
    table = Table(TableSpec())
    state = table.initial_state(rows, tokens=length)
    for plane in state.tensors().values():
        plane.logical_or_(plane) if plane.dtype == torch.bool else plane.add_(0)  # every page is there before the clock
    generator = torch.Generator().manual_seed(0)
    stream = torch.randint(0, 4, (rows, max(call, tokens // rows) // call * call), generator=generator)
    table.read(stream[:, :call], state)
    began = time.process_time()
    for at in range(0, stream.shape[1], call):
        table.read(stream[:, at : at + call], state)
    speed = stream.numel() / (time.process_time() - began)
    lookups = len(table.spec.orders) + len(table.spec.followed)
    size = state.layout.bytes / 1e6
    return f"| {rows} | {length:,} | {size:,.0f} | {speed:,.0f} | {speed * lookups:,.0f} | {speed:,.0f} |"


if __name__ == "__main__":
    main()
