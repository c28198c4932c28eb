"""The shipped Snakemake workflows: copied out, lint-clean, planned, run on small data, gone on with after a kill."""

from __future__ import annotations

import csv
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from titans_seq.config.workflows import copy_workflow, workflow_names
from titans_seq.errors import ConfigError, UnknownNameError

GENOMES = Path(__file__).resolve().parents[3] / "shared" / "data" / "genomes"


def own_environment(folder: Path) -> dict[str, str]:
    """The commands of this installation first on the path, and a cache of its own."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "XDG_CACHE_HOME": str(folder / "cache"), "OMP_NUM_THREADS": "1"}


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return own_environment(tmp_path)


def killed_when(found: Callable[[], object], folder: Path, environment: dict[str, str]) -> object:
    """Start the workflow, kill it and all it started when something is there, and unlock the folder; gives that."""
    job = subprocess.Popen(
        [sys.executable, "-m", "snakemake", "--cores", "1"],
        cwd=folder,
        env=environment,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 180
    while not (there := found()) and job.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(random.random())
    os.killpg(job.pid, signal.SIGKILL)
    job.wait()
    snakemake(folder, environment, "--unlock")
    return there


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

    killed_when(lambda: list(folder.glob("results/backtests/*/year/report.json")), folder, environment)
    assert not (folder / "results" / "report.html").exists()
    again = snakemake(folder, environment, "--rerun-incomplete")
    assert again.returncode == 0, again.stderr
    with (folder / "results" / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["data"] for row in rows} == {"a", "b"}
    assert "titans" in {row["method"] for row in rows}
    assert "data:image/png" in (folder / "results" / "report.html").read_text()


def assembly(folder: Path, **more: str) -> Path:
    """The workflow for phage lambda alone, in two shards, with settings that make it a matter of seconds."""
    copy_workflow("annotate_genomes", folder)
    genome, annotation = GENOMES / "phage_lambda.fa.gz", GENOMES / "phage_lambda.gff3.gz"
    (folder / "config" / "assemblies.tsv").write_text(f"name\tgenome\tannotation\nlambda\t{genome}\t{annotation}\n")
    few = " ".join(f"--set evaluation.{key}" for key in ("max_bases=400", "carry_bases=400", "markov_orders=[2]"))
    (folder / "config" / "config.yaml").write_text(
        "assemblies: config/assemblies.tsv\n"
        "train_regions: --preset regions-tiny --classes CDS --steps 3\n"
        f"train_dna: --preset dna-tiny --steps 3 --set table.megabytes=8 {few}\n"
        "shards: 2\nwindow: 1024\nstride: 1024\ncontext: 2k\nthreads: {train: 1, read: 1}\n"
        + "".join(f"{key}: {value}\n" for key, value in more.items())
    )
    return folder


@pytest.fixture(scope="module")
def annotated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undisturbed run of it, models trained on the way."""
    if not GENOMES.is_dir():
        pytest.skip("needs ../shared/data/genomes (phage lambda)")
    folder = tmp_path_factory.mktemp("annotated")
    project = assembly(folder / "project")
    done = snakemake(project, own_environment(folder))
    assert done.returncode == 0, done.stderr
    return project


@pytest.mark.slow
def test_an_assembly_from_training_to_the_page(annotated: Path) -> None:
    results = annotated / "results"
    with (results / "genes.tsv").open() as file:
        (row,) = csv.DictReader(file, delimiter="\t")
    assert (row["assembly"], row["windows"]) == ("lambda", "48")
    assert int(row["CDS"]) > 30
    lines = (results / "annotations" / "lambda.gff3").read_text().splitlines()
    assert sum(line.startswith("##sequence-region") for line in lines) == 1
    names = [line.split("ID=")[1].split(";")[0] for line in lines if "ID=" in line]
    assert len(names) == len(set(names))
    assert (results / "tracks" / "lambda.bw").stat().st_size > 0
    assert (results / "report.html").read_text().count("data:image/png") == 2


@pytest.mark.slow
def test_an_assembly_is_killed_and_goes_on(annotated: Path, tmp_path: Path) -> None:
    """With SIGKILL, snakemake and all it started, behind the first part; then run again: the same files."""
    models = annotated / "results" / "models"
    project = assembly(tmp_path / "project", regions_model=f"{models}/regions", dna_model=f"{models}/dna")
    environment = own_environment(tmp_path)
    first = killed_when(lambda: list(project.glob("results/parts/*")), project, environment)
    assert first
    assert not (project / "results" / "report.html").exists()
    again = snakemake(project, environment, "--rerun-incomplete")
    assert again.returncode == 0, again.stderr
    for name in ("annotations/lambda.gff3", "tracks/lambda.bw", "genes.tsv"):
        assert (project / "results" / name).read_bytes() == (annotated / "results" / name).read_bytes(), name
    found, wanted = (pl.read_parquet(folder / "results" / "embeddings.parquet") for folder in (project, annotated))
    assert found.equals(wanted)
    assert not list(project.glob("results/parts/*"))
    assert not list(project.glob("**/*.work"))
