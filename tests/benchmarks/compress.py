"""A genome in the compressor's own sense: every base predicted from those before it, one pass, no pretraining.

    python -m tests.benchmarks.compress                       # E. coli; prints bits per base beside GeCo3's 1.882
    python -m tests.benchmarks.compress --genome scerevisiae_chrIV --bases 200000
    python -m tests.benchmarks.compress --memory none         # the table and a network without a neural memory

One row reads the chromosome. Each segment is first predicted with the weights as they stand, that cost is what counts,
and only then is a step of AdamW taken on it. The random start of the weights is the only thing not learned on the way.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import time
from pathlib import Path

import torch

from titans_seq.config import TrainDnaConfig, parse_config, preset_text
from titans_seq.genomics import Stretch, open_genomes, stream_segments
from titans_seq.tasks import BITS_PER_NAT
from titans_seq.tasks.build import build_next_base
from titans_seq.training.optimiser import build_optimiser, set_rate

GENOMES = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "genomes"
GECO3 = {"ecoli_k12_mg1655": "GeCo3, level 16 (79 s): 1.882"}
"""Measured before the project began, in bits per base of the whole chromosome."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--genome", default="ecoli_k12_mg1655")
    parser.add_argument("--bases", type=int, help="only the first so many")
    parser.add_argument("--preset", default="dna-small")
    parser.add_argument("--memory", help="another memory than the preset's")
    parser.add_argument("--table-mb", type=float, default=1024.0)
    parser.add_argument("--segment", type=int, default=512, help="bases between two steps")
    parser.add_argument("--rate", type=float, default=2e-3)
    options = parser.parse_args()
    genome = open_genomes([str(GENOMES / f"{options.genome}.fa.gz")])
    contig = max(genome.contigs, key=lambda found: found.length)
    length = min(options.bases or contig.length, contig.length)
    overrides = [f"table.megabytes={options.table_mb}", "table.drop=0"]
    overrides += [f"model.memory={json.dumps(options.memory)}"] if options.memory else []
    config = parse_config(TrainDnaConfig, preset_text(options.preset), source=options.preset, overrides=overrides)
    torch.manual_seed(config.run.seed)
    task = build_next_base(config)
    assert task.mixing is not None
    task.mixing.expected = length
    optimiser = build_optimiser(task, config.optimiser)
    segments = stream_segments(genome, Stretch(contig.name, 0, length), segment=options.segment)
    bits, bases, state, began = 2.0, 1, None, time.monotonic()
    for number, segment in enumerate(segments):
        cost = task.cost(segment, state=state, device=torch.device("cpu"))
        state = cost.state.detach()
        bits, bases = bits + float(cost.total.detach()) * BITS_PER_NAT, bases + cost.targets
        if not cost.targets:
            continue
        # The rate falls as 1 / sqrt of what was read: early steps must be bold, late ones average.
        set_rate(optimiser, options.rate * min(1.0, (number + 1) / 20) / math.sqrt(1 + bases / 500_000))
        optimiser.zero_grad(set_to_none=True)
        (cost.total / cost.targets).backward()
        torch.nn.utils.clip_grad_norm_(task.parameters(), config.optimiser.clip)
        optimiser.step()
        if number % 400 == 399:
            print(f"{bases:>10,} bases  {bits / bases:.4f} bits/base  {time.monotonic() - began:,.0f} s", flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{options.genome}: {bits / bases:.4f} bits/base over {bases:,} bases, {bits / 8:,.0f} bytes; "
        f"{time.monotonic() - began:,.0f} s, peak RAM {peak:,.0f} MiB, {torch.get_num_threads()} threads"
    )
    print(GECO3.get(options.genome, "GeCo3 was not run on this one"))


if __name__ == "__main__":
    main()
