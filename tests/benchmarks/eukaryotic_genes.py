"""Eukaryotic genes, contigs or halves held out: yeast chrIV, 1 % of C. elegans and of A. thaliana, a chloroplast.

    python -m tests.benchmarks.eukaryotic_genes                    # all four
    python -m tests.benchmarks.eukaryotic_genes yeast worm         # some of them
    python -m tests.benchmarks.eukaryotic_genes worm --epochs 2    # another budget than the set's own
    python -m tests.benchmarks.eukaryotic_genes worm cress --turns # no network: every contig held out in turn

Trains `regions-small` with the classes of each set and prints F1 base by base (both strands; *intergenic* is what has
no label on a strand), beside every cheap labeller of `train-regions`; where genes have introns, the same for genes put
together, with the network and by counts alone, coding exons with both ends right and genes with all exons right. Needs
``../shared/data/genomes``. Prints Markdown for LOG.md and writes ``tests/benchmarks/results/eukaryotic-genes.json`` as
it goes.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import tempfile
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from titans_seq.genomics import open_genome
from titans_seq.training.regions_baselines import plain_scores, regressions
from titans_seq.training.regions_job import prepare

REPO = Path(__file__).resolve().parents[2]
GENOMES = REPO.parent / "shared" / "data" / "genomes"
RESULTS = Path(__file__).parent / "results" / "eukaryotic-genes.json"
SMALLEST = 50_000
"""Bases of a contig that is held out in turn."""


@dataclass(frozen=True)
class Set:
    """A genome, what is held out, and the passes over the rest."""

    files: tuple[str, ...]
    held_out: str
    epochs: int
    settings: tuple[str, ...]


SPLICED = (
    'labels={"classes": ["CDS", "exon", "intron"], "frames": ["CDS"], "translation_table": 1}',
    "split.by=contig", "split.valid_fraction=0.15", "split.decoder_fraction=0.15", "evaluation.carry_bases=0",
    "letters.noise=0.1", "letters.dropout=0.3", "optimiser.weight_decay=0.2",
)  # fmt: skip
SETS = {
    "yeast": Set(("scerevisiae_chrIV.fa.gz", "scerevisiae_chrIV.gtf.gz"), "second half", 12, (
        'labels={"classes": ["CDS"], "frames": ["CDS"], "translation_table": 1, "start_codons": ["ATG"], '
        '"decode": "orf"}', "split.valid_fraction=0.5", "decoder.train_bases=700000",
    )),
    "worm": Set(("celegans_1pct.fa.gz", "celegans_1pct.gff3.gz"), "contigs", 20, SPLICED),
    "cress": Set(("athaliana_1pct.fa.gz", "athaliana_1pct.gff3.gz"), "contigs", 20, SPLICED),
    "chloroplast": Set(("athaliana_chloroplast_NC_000932.gb.gz",), "last quarter, most of it the second copy of an "
                       "inverted repeat", 40, (
        'labels={"classes": ["CDS", "tRNA", "rRNA"], "frames": ["CDS"], "decode": "none"}', "split.valid_fraction=0.25",
        "split.decoder_fraction=0", "evaluation.carry_bases=0",
    )),
}  # fmt: skip


def measure(name: str, *, epochs: float | None, overrides: list[str]) -> dict[str, Any]:
    """Train on one set and keep what its report says."""
    chosen = SETS[name]
    pipeline = import_module("titans_seq.pipelines.train_regions")
    budget = f'budget={{"epochs": {epochs or chosen.epochs}}}'
    with tempfile.TemporaryDirectory() as folder:
        job = pipeline.prepare(
            files=[str(GENOMES / file) for file in chosen.files],
            preset="regions-small",
            out=Path(folder) / name,
            overrides=[*chosen.settings, budget, *overrides],
        )
        report = pipeline.run(job)
    keys = ("parts", "training", "evaluation", "remarks", "tables", "seed")
    return {"held_out": chosen.held_out, "budget": budget, "overrides": overrides} | {key: report[key] for key in keys}


def table(name: str, result: dict[str, Any]) -> str:
    """F1 of every class by row, then the genes."""
    evaluation, parts = result["evaluation"], result["parts"]
    arms = evaluation["arms"]
    rows = {**evaluation["baselines"], **{f"ours, {arm}": found["classes"] for arm, found in arms.items()}}
    if evaluation["plain"] and evaluation["plain"]["decoded"]:
        rows["genes put together, no network"] = evaluation["plain"]["decoded"]
    rows |= {f"genes put together, {arm}": found["decoded"] for arm, found in arms.items() if found["decoded"]}
    classes = [row["class"] for row in next(iter(rows.values()))]
    shares = {row["class"]: row["bases"] for row in evaluation["arms"]["carried"]["classes"]}
    lines = [
        f"**{name}** ({parts['train']['bases']:,} bases to train, {parts['valid']['bases']:,} held out: "
        f"{result['held_out']}; {result['training']['steps']} steps, {result['training']['seconds'] / 60:.1f} min; "
        f"held-out labels: {', '.join(f'{kind} {count:,}' for kind, count in shares.items())})",
        "",
        "| F1, base by base | " + " | ".join([*classes[:-1], "intergenic"]) + " |",
        "|---|" + "---|" * len(classes),
    ]
    for row, scores in rows.items():
        cells = [score["f1"] for score in scores]
        lines.append(f"| {row} | " + " | ".join("-" if cell is None else f"{cell:.3f}" for cell in cells) + " |")
    genes = result["tables"]["genes"]
    if len(genes) > 1:
        head = [genes[0][0], *genes[0][1]]
        lines += ["", "| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
        lines += ["| " + " | ".join([row, *cells]) + " |" for row, cells in genes[1:]]
    return "\n".join([*lines, ""])


def turns(name: str, *, overrides: list[str]) -> str:
    """Hold every contig out in turn: the k-mer regression, and genes put together by counts; mean and spread of F1."""
    chosen = SETS[name]
    found: dict[str, dict[str, list[float]]] = {}
    held, genes = [], 0
    for contig in open_genome(GENOMES / chosen.files[0]).contigs:
        if contig.length < SMALLEST:
            continue
        job = prepare(
            files=[str(GENOMES / file) for file in chosen.files], preset="regions-small", out=Path("unused"),
            overrides=[*chosen.settings, 'budget={"steps": 1}', f'split.valid_contigs=["{contig.name}"]', *overrides],
        )  # fmt: skip
        kmers = regressions(job, windows=job.config.evaluation.baseline_windows, seed=0)["k-mer regression"]
        plain = plain_scores(job)
        assert plain is not None
        for row, scores in (("k-mer regression", kmers), ("genes put together, no network", plain["decoded"])):
            for score in scores:
                found.setdefault(row, {}).setdefault(score["class"], []).append(score["f1"] or 0.0)
        exons = plain["exons"]
        for key in ("recall", "precision", "f1", "genes_exact"):
            found["genes put together, no network"].setdefault(f"parts, {key}", []).append(exons[key])
        held.append(contig.name)
        genes += exons["genes"]
    lines = [
        f"**{name}**, contigs {', '.join(held)} held out in turn, {genes} genes: mean and spread of F1 over contigs",
        "",
    ]
    for row, columns in found.items():
        cells = [f"{kind} {statistics.mean(f1):.3f} +- {statistics.stdev(f1):.3f}" for kind, f1 in columns.items()]
        lines.append(f"- {row}: {', '.join(cells)}")
    return "\n".join([*lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", help=f"of {', '.join(SETS)}; by default all")
    parser.add_argument("--epochs", type=float, help="passes over the training part")
    parser.add_argument("--set", action="append", default=[], help="any key of the preset")
    parser.add_argument("--turns", action="store_true", help="no network; every contig held out in turn")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1)
    for name in given.sets or SETS:
        if given.turns:
            print(turns(name, overrides=given.set), flush=True)
            continue
        result = measure(name, epochs=given.epochs, overrides=given.set)
        print(table(name, result), flush=True)
        # Read again before writing: several sets may be measured side by side.
        results = (json.loads(RESULTS.read_text()) if RESULTS.exists() else {}) | {name: result}
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
