"""Classify sequences with a trained classifier.

Question: which class, and how sure?

Inputs: FASTA, CSV, TSV or Parquet (a label column that is there is kept and scored), or BED + FASTA.
Outputs: CSV or Parquet with a row for each sequence, in the order of the file: ``name [label] predicted p_<class>...``
Launch: ``titans-seq classify new.fa.gz --model runs/promoters -o predictions.csv``
Cost: thousands of sequences a second and core at a hundred bases.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from titans_seq.config.sections import RunSection
from titans_seq.genomics.labelled import LabelledSequences
from titans_seq.genomics.labelled_files import Columns, read_intervals, read_unlabelled
from titans_seq.genomics.labelled_output import write_predictions
from titans_seq.genomics.store import open_genome
from titans_seq.metrics.classification import classification_scores
from titans_seq.streaming.classifier import open_classifier
from titans_seq.training.classifier_fit import predict
from titans_seq.training.runtime import choose_runtime

Watch = Callable[[str, float, float, str], None]


def run(
    *,
    source: str,
    model: Path,
    out: Path | None,
    columns: Columns,
    genome: str | None = None,
    device: str = "auto",
    rows: int = 256,
    watch: Watch = lambda stage, done, total, note: None,
) -> tuple[str, dict[str, Any]]:
    """Predict every sequence of ``source`` and write a table.

    Returns
    -------
    tuple
        The table as CSV text where ``out`` is None (else empty), and a summary: sequences, answers by class, and the
        scores where the file has labels that the model knows.
    """
    runtime = choose_runtime(RunSection(device=device))
    classifier = open_classifier(model, device=runtime.device)
    if genome is None:
        data = read_unlabelled(source, columns)
    else:
        label = None if columns.label == "label" else columns.label
        data = read_intervals(source, open_genome(genome), label_column=label, labelled=False)
    watch("classifying", 0, 1, f"{len(data):,} sequences")
    probabilities = predict(classifier, data, rows=rows, device=runtime.device)
    text = write_predictions(out, data, probabilities, classes=classifier.classes)
    answers = probabilities.argmax(axis=1)
    summary: dict[str, Any] = {
        "sequences": len(data),
        "answers": {name: int((answers == number).sum()) for number, name in enumerate(classifier.classes)},
    }
    if known_labels(data, classifier.classes):
        summary["scores"] = classification_scores(data.with_classes(classifier.classes).labels, probabilities).record()
    return text, summary


def known_labels(data: LabelledSequences, classes: tuple[str, ...]) -> bool:
    """Tell whether every sequence has a label that the model knows."""
    return bool((data.labels >= 0).all()) and set(data.classes) <= set(classes)
