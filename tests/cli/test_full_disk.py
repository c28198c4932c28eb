"""A full disk ends a command in one line and exit code 1, leaves nothing half-written, and the same call goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.streaming.conftest import make_model

REPO = Path(__file__).resolve().parents[2]
APART = ["unshare", "-m" if os.geteuid() == 0 else "-rm"]


def can_mount(folder: Path) -> bool:
    """Whether this system lets us mount a small disk that nobody else sees."""
    try:
        words = [*APART, "mount", "-t", "tmpfs", "tmpfs", str(folder)]
        return subprocess.run(words, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@pytest.mark.slow
def test_every_kind_of_output(fasta: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if not can_mount(disk):
        pytest.skip("needs a Linux that lets this user mount a tmpfs in a namespace of its own")
    make_model(tmp_path / "run")
    table = tmp_path / "t.csv"
    values = np.random.default_rng(0).normal(size=600).round(3)
    table.write_text("id,t,y\n" + "".join(f"{n // 20},{n % 20},{value}\n" for n, value in enumerate(values)))
    given = ["--model", str(tmp_path / "run"), "--device", "cpu", "--threads", "1"]
    genome = ["embed", str(fasta), "--window", "10", "--stride", "5", *given]
    track = ["surprise", str(fasta), "--bin", "1", *given]
    series = [str(table), "--id-col", "id", "--time-col", "t", "--device", "cpu"]
    windows = ["embed", *series, "--window", "2", "--stride", "1"]
    cases = [
        (24, "w.parquet", genome, "w.parquet.work"), (100, "w.parquet", genome, "w.parquet"),
        (100, "w.npy", genome, "w.npy"), (8, "t.bedgraph", track, None), (24, "t.bedgraph", track, "t.bedgraph"),
        (512, "t.bw", track, "t.bw"), (12, "v.csv", windows, "v.csv.work"), (100, "v.csv", windows, "v.csv"),
        (100, "v.npy", windows, "v.npy"), (8, "s.csv", ["surprise", *series], None),
        (12, "s.parquet", ["surprise", *series], "s.parquet"),
    ]  # fmt: skip
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    words = [*APART, sys.executable, "-m", "tests.cli.on_a_full_disk", str(disk), json.dumps([c[:3] for c in cases])]
    done = subprocess.run(words, cwd=REPO, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""  # no library speaks for itself
    for (_, name, _, where), (full, roomy) in zip(cases, json.loads(done.stdout.splitlines()[-1]), strict=True):
        assert (full["code"], full["files"]) == (1, {}), (name, full["err"])
        assert full["err"].endswith(": the disk is full; free some space and run the same command again\n"), name
        assert full["err"].count("\n") == 1
        if where is not None:
            assert full["err"].startswith(f"titans-seq: {disk}/out/{where}:")
        assert roomy["code"] == 0, roomy["err"]
        beside = {".npy": {Path(name).with_suffix(".tsv" if name[0] == "w" else ".csv").name}}
        assert set(roomy["files"]) == {name} | beside.get(Path(name).suffix, set())


@pytest.mark.parametrize("arguments", [("presets", "ls"), ("--help",), ("embed", "--help")])
def test_standard_output_that_takes_nothing(arguments: tuple[str, ...]) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("needs /dev/full, which Linux has")
    with full.open("w") as out:
        words = [sys.executable, "-m", "titans_seq", *arguments]
        done = subprocess.run(words, stdout=out, stderr=subprocess.PIPE, text=True, check=False)
    said = "titans-seq: standard output: the disk is full; free some space and run the command again\n"
    assert (done.returncode, done.stderr) == (1, said)
