"""Bacterial genes beside Prodigal: E. coli K-12 (last 20 %), and S. pyogenes without any of its labels.

    python -m tests.benchmarks.bacterial_genes                      # trains regions-small (four epochs), then scores
    python -m tests.benchmarks.bacterial_genes --run runs/ecoli     # an E. coli run that is there
    python -m tests.benchmarks.bacterial_genes --steps 20           # does it run?

Needs ``../shared/data/genomes`` and pyrodigal (``pip install titans-seq[baselines]``). Prodigal reads each genome whole
and without labels; ours is trained on the labels of the first 80 % of E. coli alone. Prints Markdown for LOG.md and
writes ``tests/benchmarks/results/bacterial-genes-DATE.json``.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from titans_seq.genomics import Stretch, decode, open_genome, read_annotation
from titans_seq.genomics.labels import LabelScheme
from titans_seq.streaming.regions import RegionsModel, open_regions_model
from titans_seq.tasks.gene_calls import ContigScores
from titans_seq.tasks.label_scan import read_ahead, scan
from titans_seq.tasks.self_training import fit_to_genome
from titans_seq.training.regions_evaluate import as_intervals, gene_table
from titans_seq.training.regions_job import annotated_genes

REPO = Path(__file__).resolve().parents[2]
GENOMES = REPO.parent / "shared" / "data" / "genomes"
RESULTS = Path(__file__).parent / "results"
SCHEME = LabelScheme(("CDS",))
ADAPT = 2


def main() -> None:
    options = arguments()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(options.threads)
    run = options.run or train(options.steps)
    model = open_regions_model(run)
    rows = [*e_coli(run), *s_pyogenes(model)]
    lines = table(rows)
    print("\n".join(lines))
    record = {"run": str(run), "report": json.loads((run / "report.json").read_text()), "rows": rows}
    target = RESULTS / f"bacterial-genes-{datetime.now(UTC):%Y-%m-%d}.json"
    target.write_text(json.dumps(record, indent=1) + "\n")
    print(f"\n{target}")


def train(steps: int | None) -> Path:
    """Train the preset on E. coli, or go on with a run that was stopped."""
    pipeline = import_module("titans_seq.pipelines.train_regions")
    out = REPO / "runs" / "ecoli-regions-small"
    files = [str(GENOMES / f"ecoli_k12_mg1655.{suffix}.gz") for suffix in ("fa", "gff3")]
    overrides = [f'budget={{"steps": {steps}}}'] if steps else []
    resume = (out / "config.yaml").exists()
    pipeline.run(pipeline.prepare(files=files, preset="regions-small", out=out, overrides=overrides, resume=resume))
    return out


def e_coli(run: Path) -> list[dict[str, Any]]:
    """The run's own held-out part, and Prodigal on the same."""
    report = json.loads((run / "report.json").read_text())
    (part,) = report["parts"]["valid"]["stretches"]
    stretch = Stretch(*part)
    own = report["evaluation"]
    rows = [prodigal("E. coli, held-out 20 %", "ecoli_k12_mg1655", stretch)]
    found = {
        "codon counts, no network": own["plain"],
        **{f"ours, memory {name}": arm for name, arm in own["arms"].items()},
    }
    return rows + [
        {"data": "E. coli, held-out 20 %", "tool": name, **scores["genes"], "mcc": scores["coding"]["mcc"]}
        for name, scores in found.items()
    ]


def s_pyogenes(model: RegionsModel) -> list[dict[str, Any]]:
    """Prodigal, and ours in four arms: memory reset, off, carried, and carried by a memory that has read the genome."""
    name, data = "spyogenes_m1gas", "S. pyogenes, no labels"
    genome = open_genome(GENOMES / f"{name}.fa.gz")
    (contig,) = genome.contigs
    tokens, stretch = genome.tokens(contig.name), Stretch(contig.name, 0, contig.length)
    length, task, caller = model.config.blocks.length, model.task, model.caller
    assert caller is not None
    rows = [prodigal(data, name, stretch)]

    def scored(tool: str, scores: ContigScores) -> None:
        began, own = time.monotonic(), caller
        for round_ in range(ADAPT + 1):
            genes = own.genes(tokens, scores)
            if round_ in (0, ADAPT):
                words = f"{tool}, adapted" if round_ else tool
                rows.append(against(data, words, name, stretch, as_intervals(genes), time.monotonic() - began))
            own = fit_to_genome(own, [(tokens, scores)], [genes]) or own

    for arm in ("reset", "off", "carried"):
        blocks = scan(task, tokens, length=length, arm=arm)
        scored(f"ours, memory {arm}", ContigScores.gather(blocks, length=contig.length, n_states=task.n_states))
    state = read_ahead(task, tokens, length=length)
    blocks = scan(task, tokens, length=length, state=state)
    scored("ours, memory read it first", ContigScores.gather(blocks, length=contig.length, n_states=task.n_states))
    return rows


def prodigal(data: str, name: str, stretch: Stretch) -> dict[str, Any]:
    """Genes of the whole genome by Prodigal in single mode, those inside the stretch scored."""
    import pyrodigal

    genome = open_genome(GENOMES / f"{name}.fa.gz")
    sequence = decode(genome.tokens(stretch.contig))
    began = time.monotonic()
    finder = pyrodigal.GeneFinder(meta=False)
    finder.train(sequence, translation_table=11)
    genes = [(gene.begin - 1, gene.end, gene.strand) for gene in finder.find_genes(sequence)]
    seconds = time.monotonic() - began
    inside = [
        (start - stretch.start, end - stretch.start, strand)
        for start, end, strand in genes
        if start >= stretch.start and end <= stretch.end
    ]
    return against(data, f"Prodigal (pyrodigal {pyrodigal.__version__})", name, stretch, inside, seconds)


def against(
    data: str, tool: str, name: str, stretch: Stretch, genes: list[tuple[int, int, int]], seconds: float
) -> dict[str, Any]:
    """One row: genes in coordinates of the stretch against the annotation."""
    known = annotated_genes(read_annotation(GENOMES / f"{name}.gff3.gz"), stretch.contig, SCHEME)
    scores, coding = gene_table([stretch], [genes], {stretch.contig: known}, 300)
    return {"data": data, "tool": tool, **scores.to_json(), "mcc": coding["mcc"], "seconds": round(seconds, 1)}


def table(rows: list[dict[str, Any]]) -> list[str]:
    lines = [
        "| data | tool | genes >= 300 bp | right stop | precision | exact | coding MCC |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        shares = " | ".join(f"{100 * row[key]:.1f}" for key in ("stops", "precision", "exact"))
        lines.append(f"| {row['data']} | {row['tool']} | {row['annotated']} | {shares} | {row['mcc']:.3f} |")
    return lines


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--run", type=Path, help="a finished run of train-regions on E. coli")
    parser.add_argument("--steps", type=int, help="train for this many steps instead of the preset's budget")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
