"""Published sets of labelled sequences: ours beside every cheap rule and a small CNN, in one table for each set.

    python -m tests.benchmarks.sequence_classification                     # the four quick sets
    python -m tests.benchmarks.sequence_classification tata sigma70        # some of them
    python -m tests.benchmarks.sequence_classification --list

Sets without a published split are scored by five-fold cross-validation with equal sequences (on either strand) in the
same fold and duplicates left out; the spread is over folds. Sets with one keep its test part; training sequences that
stand in it are left out, and the spread is over seeds. Writes ``results/sequence_classification.json`` as it goes.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from titans_seq.config import TrainClassifierConfig, parse_config, preset_text
from titans_seq.genomics.labelled import drop_repeated, drop_seen, fold_numbers, held_out_rows
from titans_seq.genomics.labelled_files import Columns, open_labelled
from titans_seq.metrics.classification import classification_scores
from titans_seq.metrics.sequence_baselines import baseline_probabilities
from titans_seq.training.classifier_fit import fit_cnns, fit_members
from titans_seq.training.classifier_job import ClassifierJob, Parts
from titans_seq.training.classifier_scores import plain, predict_all
from titans_seq.training.runtime import choose_runtime

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "classification"
RESULTS = Path(__file__).parent / "results" / "sequence_classification.json"
FOLDS, SEEDS = 5, 2
SHOWN = ("accuracy", "mcc", "auroc")


@dataclass(frozen=True)
class Set:
    """A data set: its sources (with a published split or without), what was published, and settings of its own."""

    sources: tuple[str, ...]
    published: str
    split: bool = False
    columns: Columns = Columns()  # noqa: RUF009 - frozen
    settings: tuple[str, ...] = ()


SHORT = ("classifier.stride=4",)
LARGE = ('budget={"epochs": 8}',)  # tens of thousands of sequences: eight passes are as many steps as 80 of the others
SETS = {
    "tata": Set(("promoter=cnnprom_arabidopsis_tata.fa.gz", "other=cnnprom_arabidopsis_non_prom.fa.gz"),
                "CNNProm: MCC 0.91; frozen embeddings: AUROC 0.961"),
    "sigma70": Set(("promoter=cnnprom_ecoli_prom.fa.gz", "other=cnnprom_ecoli_non_prom.fa.gz"),
                   "CNNProm: MCC 0.84", settings=SHORT),
    "splice": Set(("uci_splice.csv.gz",), "small CNNs: accuracy about 0.96",
                  columns=Columns(header=("label", "name", "sequence")), settings=("classifier.stride=2",)),
    "prom_300_tata": Set(("gue_prom_prom_300_tata",), "frozen embeddings: AUROC 0.808", split=True),
    "nontata": Set(("promoter=cnnprom_arabidopsis_non_tata.fa.gz", "other=cnnprom_arabidopsis_non_prom.fa.gz"),
                   "CNNProm: MCC 0.86; frozen embeddings: AUROC 0.955"),
    "tf_0": Set(("gue_tf_0",), "frozen embeddings: AUROC 0.880", split=True, settings=SHORT + LARGE),
    "tf_3": Set(("gue_tf_3",), "frozen embeddings: AUROC 0.773", split=True, settings=SHORT + LARGE),
    "prom_core_notata": Set(("gue_prom_prom_core_notata",), "frozen embeddings: AUROC 0.896",
                            split=True, settings=SHORT + LARGE),
}  # fmt: skip
QUICK = ("tata", "sigma70", "splice", "prom_300_tata")


def parts_of(chosen: Set) -> Iterator[tuple[int, Parts]]:
    """Give the parts of every fold, or those that were published, once for each seed."""
    if chosen.split:
        train, dev, test = (
            open_labelled([str(DATA / f"{chosen.sources[0]}_{part}.csv.gz")]) for part in ("train", "dev", "test")
        )
        parts = Parts(drop_seen(train, dev, test), dev, test)
        yield from ((seed, parts) for seed in range(SEEDS))
        return
    sources = [f"{name}={DATA / path}" if path else str(DATA / name)
               for name, _, path in (source.partition("=") for source in chosen.sources)]  # fmt: skip
    data = drop_repeated(open_labelled(sources, columns=chosen.columns))
    fold = fold_numbers(data, folds=FOLDS, seed=0)
    for number in range(FOLDS):
        rest = data.take(np.flatnonzero(fold != number))
        held = held_out_rows(rest, fraction=0.1, seed=number)
        train = rest.take(np.setdiff1d(np.arange(len(rest)), held))
        yield number, Parts(train, rest.take(held), data.take(np.flatnonzero(fold == number)))


def cheap_rules(name: str, *, folds: int) -> None:
    """Print MCC and AUROC of the cheap rules alone: seconds for each set."""
    found: dict[str, list[dict[str, float | None]]] = {}
    for _, (_, parts) in zip(range(1 if SETS[name].split else folds), parts_of(SETS[name]), strict=False):
        given = [plain(part) for part in (parts.train, parts.dev, parts.test)]
        predictions = baseline_probabilities(given[0], given[1], given[2], n_classes=len(parts.classes))
        for row, values in predictions.items():
            found.setdefault(row, []).append(classification_scores(parts.test.labels, values).record())
    for row, scores in found.items():
        cells = [spread([score[key] for score in scores]) for key in SHOWN]
        words = [f"{key} {mean:.3f} +- {sd or 0:.3f}" for key, (mean, sd) in zip(SHOWN, cells, strict=True)]
        print(f"{name}, {row}: {', '.join(words)}", flush=True)


def measure(name: str, *, overrides: list[str], folds: int) -> dict[str, object]:
    """Train and score every fold or seed of a set; mean and standard deviation of each row."""
    chosen = SETS[name]
    given = ["classifier.members=1", "run.device=auto", *chosen.settings, *overrides]
    found: dict[str, list[dict[str, float | None]]] = {}
    began = time.process_time()
    sizes: dict[str, int] = {}
    for number, (seed, parts) in zip(range(folds), parts_of(chosen), strict=False):
        config = parse_config(TrainClassifierConfig, preset_text("classifier-small"), source="classifier-small",
                              overrides=[*given, f"run.seed={seed}"])  # fmt: skip
        longest = int(parts.train.lengths.max())
        around = config.classifier.model_copy(update={"positions": longest})
        with tempfile.TemporaryDirectory() as folder:
            job = ClassifierJob(config.model_copy(update={"classifier": around}), parts, Path(folder), {})
            runtime = choose_runtime(job.config.run)
            members, _ = fit_members(job, runtime=runtime, watch=lambda *words: None)
            cnns = fit_cnns(job, runtime=runtime, watch=lambda *words: None)
            predictions = predict_all(job, members, cnns, runtime=runtime, watch=lambda *words: None)
        for row, values in predictions.items():
            found.setdefault(row, []).append(classification_scores(parts.test.labels, values[0]).record())
        sizes = {part: len(getattr(parts, part)) for part in ("train", "dev", "test")}
        sizes["parameters"] = sum(p.numel() for p in members[0].parameters())
        mcc = {row: round(float(scores[-1]["mcc"] or 0), 3) for row, scores in found.items()}
        print(f"{name}, {'seed' if chosen.split else 'fold'} {number}: {mcc}", flush=True)
    rows = {
        row: {key: spread([score[key] for score in scores]) for key in (*SHOWN, "auprc", "macro_f1")}
        for row, scores in found.items()
    }
    return {
        "published": chosen.published, "over": "seeds" if chosen.split else "folds", "sizes": sizes, "rows": rows,
        "runs": len(next(iter(found.values()))), "cpu_minutes": round((time.process_time() - began) / 60, 1),
        "overrides": given,
    }  # fmt: skip


def spread(values: list[float | None]) -> list[float | None]:
    """Give mean and standard deviation; the latter is missing for one value."""
    known = [float("nan") if value is None else value for value in values]
    return [float(np.mean(known)), float(np.std(known, ddof=1)) if len(known) > 1 else None]


def table(name: str, result: dict) -> str:
    """Lay a result out as Markdown."""
    sizes = ", ".join(f"{key} {value:,}" for key, value in result["sizes"].items())
    lines = [f"**{name}** ({sizes}; {result['runs']} {result['over']}, {result['cpu_minutes']} CPU minutes; "
             f"published: {result['published']})", "", "| row | accuracy | MCC | AUROC |",
             "|---|---|---|---|"]  # fmt: skip
    for row, scores in result["rows"].items():
        cells = [
            f"{scores[key][0]:.3f}" + (f" +- {scores[key][1]:.3f}" if scores[key][1] is not None else "")
            for key in SHOWN
        ]
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", help=f"of {', '.join(SETS)}; by default {', '.join(QUICK)}")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--cheap", action="store_true", help="the cheap rules alone")
    parser.add_argument("--folds", type=int, default=FOLDS, help="stop after this many folds or seeds")
    parser.add_argument("--set", action="append", default=[], help="any key of the preset")
    given = parser.parse_args()
    logging.getLogger("titans_seq").setLevel(logging.WARNING)
    if given.list:
        for name, chosen in SETS.items():
            print(f"{name}: {', '.join(chosen.sources)}; {chosen.published}")
        return
    torch.set_num_threads(1)
    for name in given.sets or QUICK:
        if given.cheap:
            cheap_rules(name, folds=given.folds)
            continue
        result = measure(name, overrides=given.set, folds=given.folds)
        print(table(name, result), flush=True)
        # Read again before writing: several sets may be measured side by side.
        results = (json.loads(RESULTS.read_text()) if RESULTS.exists() else {}) | {name: result}
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
