"""Bacterial genes beside Prodigal: E. coli K-12 (last 20 %), and S. pyogenes without any of its labels.

    python -m tests.benchmarks.bacterial_genes                      # trains regions-small (four epochs), then scores
    python -m tests.benchmarks.bacterial_genes --members 3          # three seeds: mean and spread
    python -m tests.benchmarks.bacterial_genes --run runs/ecoli     # an E. coli run that is there, with all its members
    python -m tests.benchmarks.bacterial_genes --run A B C          # one run for each seed
    python -m tests.benchmarks.bacterial_genes --steps 20           # does it run?

Needs ``../shared/data/genomes`` and pyrodigal (``pip install titans-seq[baselines]``). Prodigal reads each genome whole
and without labels; ours is trained on the labels of the first 80 % of E. coli alone. Of several seeds only the carried
memory reads S. pyogenes. Prints Markdown for LOG.md and writes ``tests/benchmarks/results/bacterial-genes-DATE.json``
(several seeds: ``bacterial-genes-seeds-DATE.json``).
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from titans_seq.genomics import Stretch, decode, open_genome, read_annotation
from titans_seq.genomics.labels import LabelScheme
from titans_seq.streaming.regions import RegionsModel, open_regions_model
from titans_seq.tasks.gene_calls import ContigScores, GeneCaller
from titans_seq.tasks.label_scan import Arm, read_ahead, scan
from titans_seq.tasks.self_training import fit_to_genome
from titans_seq.training.regions_evaluate import as_intervals, gene_table
from titans_seq.training.regions_job import annotated_genes

REPO = Path(__file__).resolve().parents[2]
GENOMES = REPO.parent / "shared" / "data" / "genomes"
RESULTS = Path(__file__).parent / "results"
SCHEME = LabelScheme(("CDS",))
ADAPT = 2
E_COLI, S_PYOGENES = "E. coli, held-out 20 %", "S. pyogenes, no labels"
READ_FIRST = "read it first"
SCANNED: dict[str, Arm] = {"reset": "reset", "off": "off", "carried": "carried", READ_FIRST: "carried"}
ARMS = tuple(SCANNED)


def main() -> None:
    options = arguments()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(options.threads)
    runs = each_seed(options.run or [train(options)])
    arms = ARMS if len(runs) == 1 else ("carried",)
    rows = prodigal_rows(runs[0])
    for run in runs:
        rows += [row | {"run": str(run)} for row in (*e_coli(run), *s_pyogenes(open_regions_model(run), arms))]
    lines = table(rows, seeds=len(runs))
    print("\n".join(lines))
    reports = [{"run": str(run)} | json.loads((run / "report.json").read_text()) for run in runs]
    record = {"runs": reports, "rows": rows}
    name = "bacterial-genes" if len(runs) == 1 else "bacterial-genes-seeds"
    target = RESULTS / f"{name}-{datetime.now(UTC):%Y-%m-%d}.json"
    target.write_text(json.dumps(_without_folders(record), indent=1) + "\n")
    print(f"\n{target}")


def _without_folders(value: Any) -> Any:
    """The same with names of files in place of this machine's paths."""
    if isinstance(value, dict):
        return {key: _without_folders(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_without_folders(part) for part in value]
    return Path(value).name if isinstance(value, str) and value.startswith("/") else value


def each_seed(runs: list[Path]) -> list[Path]:
    """The folders of single seeds: a run with members stands for all of them."""
    return [seed for run in runs for seed in (sorted(run.glob("member-*")) or [run])]


def train(options: argparse.Namespace) -> Path:
    """Train the preset on E. coli, or go on with a run that was stopped."""
    pipeline = import_module("titans_seq.pipelines.train_regions")
    out = REPO / "runs" / f"ecoli-regions-small{f'-{options.members}-seeds' if options.members > 1 else ''}"
    files = [str(GENOMES / f"ecoli_k12_mg1655.{suffix}.gz") for suffix in ("fa", "gff3")]
    overrides = [f"members={options.members}"]
    overrides += [f'budget={{"steps": {options.steps}}}'] if options.steps else []
    resume = (out / "config.yaml").exists()
    pipeline.run(pipeline.prepare(files=files, preset="regions-small", out=out, overrides=overrides, resume=resume))
    return out


def prodigal_rows(run: Path) -> list[dict[str, Any]]:
    """Prodigal on the part of E. coli that the run held out, and on S. pyogenes."""
    (contig,) = open_genome(GENOMES / "spyogenes_m1gas.fa.gz").contigs
    return [
        prodigal(E_COLI, "ecoli_k12_mg1655", held_out(run)),
        prodigal(S_PYOGENES, "spyogenes_m1gas", Stretch(contig.name, 0, contig.length)),
    ]


def held_out(run: Path) -> Stretch:
    (part,) = json.loads((run / "report.json").read_text())["parts"]["valid"]["stretches"]
    return Stretch(*part)


def e_coli(run: Path) -> list[dict[str, Any]]:
    """What the run's own report says of its held-out part."""
    own = json.loads((run / "report.json").read_text())["evaluation"]
    found = {
        "codon counts, no network": own["plain"],
        **{f"ours, memory {name}": arm for name, arm in own["arms"].items()},
    }
    return [
        {"data": E_COLI, "tool": name, **scores["genes"], "mcc": scores["coding"]["mcc"]}
        for name, scores in found.items()
    ]


def s_pyogenes(model: RegionsModel, arms: Sequence[str]) -> list[dict[str, Any]]:
    """Ours in some arms: memory reset, off, carried, and carried by a memory that has read the genome."""
    name = "spyogenes_m1gas"
    genome = open_genome(GENOMES / f"{name}.fa.gz")
    (contig,) = genome.contigs
    tokens, stretch = genome.tokens(contig.name), Stretch(contig.name, 0, contig.length)
    length, task, caller = model.config.blocks.length, model.task, model.caller
    assert isinstance(caller, GeneCaller)
    rows = []
    for arm in arms:
        began = time.monotonic()
        state = read_ahead(task, tokens, length=length) if arm == READ_FIRST else None
        blocks = scan(task, tokens, length=length, arm=SCANNED[arm], state=state)
        scores = ContigScores.gather(blocks, length=contig.length, n_states=task.n_states)
        own = caller
        for round_ in range(ADAPT + 1):
            genes = own.genes(tokens, scores)
            if round_ in (0, ADAPT):
                words = f"ours, memory {arm}{', adapted' if round_ else ''}"
                rows.append(against(S_PYOGENES, words, name, stretch, as_intervals(genes), time.monotonic() - began))
            own = fit_to_genome(own, [(tokens, scores)], [genes]) or own
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


def table(rows: list[dict[str, Any]], *, seeds: int) -> list[str]:
    """One line for each tool, mean and standard deviation where there are several seeds; tools that all have."""
    lines = [
        "| data | tool | genes >= 300 bp | right stop | precision | exact | coding MCC |",
        "|---|---|---|---|---|---|---|",
    ]
    for data, tool in sorted(dict.fromkeys((row["data"], row["tool"]) for row in rows), key=lambda key: key[0]):
        own = [row for row in rows if (row["data"], row["tool"]) == (data, tool)]
        if len(own) in (1, seeds) and (len(own) == seeds or "run" not in own[0]):
            shares = [spread([100 * row[key] for row in own], digits=1) for key in ("stops", "precision", "exact")]
            cells = [data, tool, str(own[0]["annotated"]), *shares, spread([row["mcc"] for row in own], digits=3)]
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def spread(values: list[float], *, digits: int) -> str:
    """Mean, and with several values their standard deviation."""
    mean = f"{statistics.mean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} +- {statistics.stdev(values):.{digits}f}"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--run", type=Path, nargs="+", help="finished runs of train-regions on E. coli, one or more")
    parser.add_argument("--members", type=int, default=1, help="train this many seeds")
    parser.add_argument("--steps", type=int, help="train for this many steps instead of the preset's budget")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
