"""From a FASTA and a BED to a classifier, with honest baselines in the same table.

    python examples/01_regions_to_classifier.py                          # the chloroplast in examples/data
    python examples/01_regions_to_classifier.py genome.fa.gz regions.bed --model runs/genome-dna-small

The class of a region is the name (column 4) of its line in the BED. Folds are whole contigs, or where there is but one
contig, blocks of it: a neighbour of a test region is never trained on. Whatever learns is fitted inside the fold. The
figures are means over the folds.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from operator import methodcaller
from pathlib import Path

import numpy as np
from sklearn.dummy import DummyClassifier
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from titans_seq import TitansEmbedder
from titans_seq.genomics import class_track, decode, encode, open_genome, read_annotation
from titans_seq.genomics.bed import read_bed

CHLOROPLAST = Path(__file__).parent / "data" / "NC_000932.gb.gz"
FOLDS = 5
LOGISTIC = [
    FunctionTransformer(methodcaller("astype", float)),  # in single precision the solver's line search may give up
    StandardScaler(with_mean=False),
    GridSearchCV(LogisticRegression(max_iter=2000), {"C": [1e-3, 1e-2, 1e-1, 1]}, cv=3, scoring="roc_auc"),
]


def coding_windows(genome_file: Path, bed: Path, *, window: int = 200, each: int = 150) -> None:
    """Write a BED of windows that are all coding sequence, or none of it."""
    genome, features = open_genome(genome_file), read_annotation(genome_file)
    (contig,) = genome.contigs
    coding = class_track(features, contig.name, contig.length) == 2
    starts = np.arange(0, contig.length - window, window)
    share = np.array([coding[start : start + window].mean() for start in starts])
    lines = []
    for name, chosen in (("coding", starts[share == 1]), ("other", starts[share == 0])):
        lines += [(int(start), name) for start in np.random.default_rng(0).permutation(chosen)[:each]]
    bed.write_text("".join(f"{contig.name}\t{at}\t{at + window}\t{name}\n" for at, name in sorted(lines)))


def one_hot(texts: list[str]) -> np.ndarray:
    """Four columns per position; longer regions are cut to the first 200 bases, shorter ones filled up."""
    columns = np.zeros((len(texts), 200, 5))
    for row, text in enumerate(texts):
        tokens = encode(text[:200])
        columns[row, np.arange(len(tokens)), tokens] = 1
    return columns[:, :, :4].reshape(len(texts), -1)


def baselines() -> dict[str, list[object]]:
    return {
        "majority": [FunctionTransformer(one_hot), DummyClassifier()],
        "one-hot": [FunctionTransformer(one_hot), *LOGISTIC],
        "3-mers": [CountVectorizer(analyzer="char", ngram_range=(3, 3)), *LOGISTIC],
        "4-mers": [CountVectorizer(analyzer="char", ngram_range=(4, 4)), *LOGISTIC],
    }


def read_regions(genome_file: Path, bed: Path) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Sequences, classes (0 and 1), and the group each belongs to: its contig, or its block of the only contig."""
    genome = open_genome(genome_file)
    regions = read_bed(bed, genome)
    names = [genome.names[number] for number in regions.contig]
    rows = zip(names, regions.start.tolist(), regions.end.tolist(), strict=True)
    classes, y = np.unique(regions.names or [], return_inverse=True)
    if len(classes) != 2:
        raise SystemExit(f"{bed}: expected two classes in column 4, found {classes.tolist()}")
    blocks = np.argsort(np.argsort(regions.start, kind="stable")) * 4 * FOLDS // len(y)
    return [decode(genome.tokens(*row)) for row in rows], y, regions.contig if len(set(names)) >= FOLDS else blocks


def table(genome_file: Path, bed: Path, model: Path | None, steps: int) -> list[tuple[str, float, float, float]]:
    """Name, AUC, Matthews correlation and seconds of each method, all on the same folds."""
    texts, y, groups = read_regions(genome_file, bed)

    def scored(name: str, X: object, chain: list[object], began: float) -> tuple[str, float, float, float]:
        kinds = ("roc_auc", "matthews_corrcoef")
        found = cross_validate(make_pipeline(*chain), X, y, groups=groups, cv=GroupKFold(FOLDS), scoring=kinds)
        auc, mcc = (float(found[f"test_{kind}"].mean()) for kind in kinds)
        return name, auc, mcc, time.perf_counter() - began

    rows = [scored(name, texts, chain, time.perf_counter()) for name, chain in baselines().items()]
    # A row's vector depends on that row and on the weights alone. Weights that learn nothing here give the same
    # vectors inside a fold as outside, so they are computed once.
    fixed = {"embedding, random weights": TitansEmbedder(strand="both", d_model=64, n_layers=1)}
    if model is not None:
        fixed[f"embedding, {model.name}"] = TitansEmbedder(model=model, strand="both")
    for name, embedder in fixed.items():
        began = time.perf_counter()
        rows.append(scored(name, embedder.fit_transform(texts), LOGISTIC, began))
    if steps:
        trained = TitansEmbedder(strand="both", d_model=32, n_layers=1, batch_size=8, steps=steps)
        rows.append(scored(f"embedding, {steps} steps in each fold", texts, [trained, *LOGISTIC], time.perf_counter()))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("genome", nargs="?", type=Path)
    parser.add_argument("regions", nargs="?", type=Path)
    parser.add_argument("--model", type=Path, help="a run of titans-seq train-dna")
    parser.add_argument("--steps", type=int, default=20, help="also train an encoder on each fold's training regions")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if given.genome is None:
            given.genome, given.regions = CHLOROPLAST, Path(folder) / "regions.bed"
            coding_windows(given.genome, given.regions)
        print(f"{'features':<34}{'AUC':>7}{'MCC':>7}{'s':>7}")
        for name, auc, mcc, seconds in table(given.genome, given.regions, given.model, given.steps):
            print(f"{name:<34}{auc:>7.3f}{mcc:>7.3f}{seconds:>7.1f}")


if __name__ == "__main__":
    main()
