"""The shipped Snakemake workflows: copied out, lint-clean, planned, run on small data, gone on with after a kill."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from titans_seq.config.workflows import copy_workflow, workflow_names
from titans_seq.errors import ConfigError, UnknownNameError

GENOMES = Path(__file__).resolve().parents[3] / "shared" / "data" / "genomes"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The commands of this installation first on the path, and a cache of its own."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "XDG_CACHE_HOME": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}


def snakemake(folder: Path, environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "snakemake", "--cores", "1", *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def panel(folder: Path) -> Path:
    """A panel of two short monthly tables under one setting."""
    copy_workflow("forecast_panel", folder)
    (folder / "data").mkdir()
    for name, rise in (("a", 1.0), ("b", 2.0)):
        rows = [f"{2000 + i // 12}-{i % 12 + 1:02d}-01,{rise * i + 10 * (i % 12)}" for i in range(120)]
        (folder / "data" / f"{name}.csv").write_text("month,y\n" + "\n".join(rows) + "\n")
    (folder / "config" / "config.yaml").write_text(
        "folder: data\nsettings:\n  year: --horizon 12 --n-windows 2\nthreads: 1\n"
    )
    return folder


def test_they_are_known_by_name(tmp_path: Path) -> None:
    assert workflow_names() == ["annotate_genomes", "forecast_panel"]
    with pytest.raises(UnknownNameError, match="did you mean 'forecast_panel'"):
        copy_workflow("forecast_pannel", tmp_path / "x")
    with pytest.raises(ConfigError, match="exists"):
        copy_workflow("forecast_panel", tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["annotate_genomes", "forecast_panel"])
def test_lint_finds_nothing(name: str, tmp_path: Path, environment: dict[str, str]) -> None:
    folder = copy_workflow(name, tmp_path / "project")
    (folder / "data").mkdir()
    (folder / "data" / "a.csv").write_text("month,y\n2000-01-01,1\n")
    linted = snakemake(folder, environment, "--lint")
    assert linted.returncode == 0, linted.stdout + linted.stderr
    assert "good condition" in linted.stdout + linted.stderr


@pytest.mark.slow
def test_a_panel_is_killed_and_goes_on(tmp_path: Path, environment: dict[str, str]) -> None:
    folder = panel(tmp_path / "project")
    planned = snakemake(folder, environment, "--dry-run")
    assert planned.returncode == 0, planned.stderr
    assert not (folder / "results").exists()

    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--rerun-incomplete"]
    job = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 180
    while not list(folder.glob("results/backtests/*/year/report.json")) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(job.pid, signal.SIGKILL)
    job.wait()
    assert not (folder / "results" / "report.html").exists()

    snakemake(folder, environment, "--unlock")
    again = snakemake(folder, environment, "--rerun-incomplete")
    assert again.returncode == 0, again.stderr
    with (folder / "results" / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["data"] for row in rows} == {"a", "b"}
    assert "titans" in {row["method"] for row in rows}
    assert "data:image/png" in (folder / "results" / "report.html").read_text()


@pytest.mark.slow
@pytest.mark.skipif(not GENOMES.is_dir(), reason="needs ../shared/data/genomes (phage lambda)")
def test_an_assembly_from_training_to_the_page(tmp_path: Path, environment: dict[str, str]) -> None:
    folder = copy_workflow("annotate_genomes", tmp_path / "project")
    genome, annotation = GENOMES / "phage_lambda.fa.gz", GENOMES / "phage_lambda.gff3.gz"
    (folder / "config" / "assemblies.tsv").write_text(f"name\tgenome\tannotation\nlambda\t{genome}\t{annotation}\n")
    few = " ".join(f"--set evaluation.{key}" for key in ("max_bases=400", "carry_bases=400", "markov_orders=[2]"))
    (folder / "config" / "config.yaml").write_text(
        "assemblies: config/assemblies.tsv\n"
        "train_regions: --preset regions-tiny --classes CDS --steps 3\n"
        f"train_dna: --preset dna-tiny --steps 3 --set table.megabytes=8 {few}\n"
        "shards: 2\nwindow: 1024\nstride: 1024\ncontext: 2k\nthreads: {train: 1, read: 1}\n"
    )
    done = snakemake(folder, environment)
    assert done.returncode == 0, done.stderr
    with (folder / "results" / "genes.tsv").open() as file:
        (row,) = csv.DictReader(file, delimiter="\t")
    assert (row["assembly"], row["windows"]) == ("lambda", "48")
    assert int(row["CDS"]) > 30
    lines = (folder / "results" / "annotations" / "lambda.gff3").read_text().splitlines()
    assert sum(line.startswith("##sequence-region") for line in lines) == 1
    names = [line.split("ID=")[1].split(";")[0] for line in lines if "ID=" in line]
    assert len(names) == len(set(names))
    assert (folder / "results" / "tracks" / "lambda.bw").stat().st_size > 0
    assert (folder / "results" / "report.html").read_text().count("data:image/png") == 2
