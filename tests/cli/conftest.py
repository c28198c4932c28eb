"""Run the command line in this process, and a genome and settings small enough for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from titans_seq.cli import main

MICRO = {
    "model.d_model": "16",
    "model.n_layers": "1",
    "model.n_heads": "1",
    "model.chunk_size": "16",
    "input.kmers": "[3]",
    "input.kmer_width": "4",
    "streams.rows": "2",
    "streams.length": "64",
    "evaluation.window": "256",
    "evaluation.lead_in": "32",
    "evaluation.rows": "4",
    "evaluation.piece": "512",
    "evaluation.markov_orders": "[2, 12]",
    "evaluation.stretch": "256",
    "run.log_steps": "2",
    "run.checkpoint_steps": "5",
    "run.device": "cpu",
}


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str


Ask = Callable[..., Answer]


@pytest.fixture
def ask(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Ask:
    """Run ``titans-seq`` with arguments; gives exit code and both outputs."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def run(*arguments: str | Path) -> Answer:
        capfd.readouterr()
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        assert isinstance(stop.value.code, int)
        return Answer(stop.value.code, captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def micro() -> list[str]:
    """Arguments that make ``train-dna`` a matter of seconds."""
    return ["--preset", "dna-tiny", *(word for key, value in MICRO.items() for word in ("--set", f"{key}={value}"))]


@pytest.fixture(scope="session")
def fasta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two contigs of bases in which A is rare, with a repeat and a gap."""
    random = np.random.default_rng(7)
    one = random.choice(list("ACGT"), size=4000, p=[0.1, 0.3, 0.3, 0.3])
    one[3500:3800] = one[100:400]
    one[2000:2050] = "N"
    two = random.choice(list("ACGT"), size=1500, p=[0.1, 0.3, 0.3, 0.3])
    path = tmp_path_factory.mktemp("genome") / "small.fa"
    path.write_text(f">one first\n{''.join(one)}\n>two\n{''.join(two)}\n")
    return path
