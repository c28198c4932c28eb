"""Look for shortcuts and copies between the parts of a labelled set, before any number is believed.

Question: could a rule that has learned nothing about biology score well on this test part?

Inputs: labelled sequences, as `train-classifier` takes them, with or without a test part of their own.
Outputs: a table and a verdict, or JSON.
Launch: ``titans-seq audit-splits train.csv --test test.csv``
Cost: seconds for fifty thousand sequences on one core.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from titans_seq.config.train_classifier import LabelledSection
from titans_seq.genomics.labelled import join_labelled
from titans_seq.metrics.split_audit import audit_split, verdict
from titans_seq.training.classifier_job import read_parts
from titans_seq.training.classifier_scores import plain


def run(
    settings: LabelledSection,
    *,
    train: Sequence[str],
    test: Sequence[str] = (),
    genome: str | None = None,
    seed: int = 0,
    k: int = 11,
) -> dict[str, Any]:
    """Audit the parts as they are given; nothing that stands in both is left out first."""
    settings = settings.model_copy(update={"drop_seen": False})
    parts = read_parts(settings, train=train, test=test, genome=genome, seed=seed, identical=True)
    # A dev part is looked at in training, so what it gives away counts.
    seen = join_labelled([parts.train, parts.dev])
    spans = (seen.spans, parts.test.spans)
    findings = audit_split(
        plain(seen), plain(parts.test), n_classes=len(parts.classes), k=k,
        spans=None if spans[0] is None or spans[1] is None else (spans[0], spans[1]),
    )  # fmt: skip
    return {
        "parts": {"train": seen.counts(), "test": parts.test.counts()},
        "findings": [asdict(finding) for finding in findings],
        "verdict": verdict(findings),
    }


def audit_text(report: dict[str, Any]) -> str:
    """Lay the audit out as lines."""
    lines = [f"{name}: " + ", ".join(f"{label} {n:,}" for label, n in counts.items())
             for name, counts in report["parts"].items()]  # fmt: skip
    lines += ["", f"{'check':<24}{'concerns':>10}{'accuracy':>10}{'MCC':>8}", "-" * 52]
    for found in report["findings"]:
        share = "" if found["share"] is None else f"{found['share']:.1%}"
        accuracy = "" if found["accuracy"] is None else f"{found['accuracy']:.1%}"
        mcc = "" if found["mcc"] is None else f"{found['mcc']:.2f}"
        mark = "  !" if found["warning"] else ""
        lines.append(f"{found['check']:<24}{share:>10}{accuracy:>10}{mcc:>8}{mark}")
    return "\n".join([*lines, "", report["verdict"]])
