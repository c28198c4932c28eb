"""The examples do what they say, on the data that ships with them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest


def ran(repo: Path, tmp_path: Path, name: str, *arguments: str | Path) -> str:
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "error", repo / "examples" / name, *arguments]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def figures(text: str) -> dict[str, list[float]]:
    lines = [line for line in text.splitlines() if line]
    return {line[:34].strip(): [float(word) for word in line[34:].split()] for line in lines[1:]}


def test_regions_to_a_classifier(repo: Path, tmp_path: Path) -> None:
    """Five contigs, classes that differ in composition: every method but the majority tells them apart."""
    random = np.random.default_rng(0)
    fasta, bed = [], []
    for contig in range(5):
        parts = []
        for region in range(8):
            rich = region % 2
            parts.append(
                "".join(random.choice(list("ACGT"), 100, p=[[0.4, 0.1, 0.1, 0.4], [0.1, 0.4, 0.4, 0.1]][rich]))
            )
            bed.append(f"c{contig}\t{100 * region}\t{100 * region + 100}\t{'rich' if rich else 'poor'}")
        fasta.append(f">c{contig}\n{''.join(parts)}")
    (tmp_path / "g.fa").write_text("\n".join(fasta) + "\n")
    (tmp_path / "r.bed").write_text("\n".join(bed) + "\n")
    found = figures(
        ran(repo, tmp_path, "01_regions_to_classifier.py", tmp_path / "g.fa", tmp_path / "r.bed", "--steps", "1")
    )
    assert list(found) == [
        "majority", "one-hot", "3-mers", "4-mers", "embedding, random weights", "embedding, 1 steps in each fold",
    ]  # fmt: skip
    assert found["majority"][:2] == [0.5, 0.0]
    assert min(found[name][0] for name in list(found)[2:]) > 0.9


@pytest.mark.slow
def test_regions_of_the_chloroplast(repo: Path, tmp_path: Path) -> None:
    found = figures(ran(repo, tmp_path, "01_regions_to_classifier.py"))
    assert len(found) == 6
    assert found["majority"][0] == 0.5
    assert all(0.3 < auc <= 1 for auc, _, _ in found.values())
