"""The wheel: nothing but `titans_seq` at the top, and presets and pipelines found once it is installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from tests.packaging.conftest import Built

pytestmark = pytest.mark.slow

LOOK = """
import json, sys, importlib.resources as resources
import titans_seq, titans_seq.errors
names = lambda package: sorted(f.name for f in resources.files(package).iterdir())
print(json.dumps({
    "file": titans_seq.__file__,
    "configs": names("titans_seq.configs"),
    "pipelines": names("titans_seq.pipelines"),
    "typed": resources.files("titans_seq").joinpath("py.typed").is_file(),
    "public": dir(titans_seq),
}))
"""


def test_only_titans_seq_at_the_top(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as wheel:
        tops = {name.partition("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"titans_seq"}
    assert len(tops) == 2


def test_wheel_holds_every_source_file(built: Built, repo: Path) -> None:
    with zipfile.ZipFile(built.wheel) as wheel:
        inside = set(wheel.namelist())
    wanted = {str(path.relative_to(repo)) for path in (repo / "titans_seq").rglob("*.py")}
    for room, pattern in (("pipelines", "*.py"), ("configs", "*.py"), ("configs", "*.yaml")):
        wanted |= {f"titans_seq/{room}/{path.name}" for path in (repo / room).glob(pattern)}
    assert wanted - inside == set()


def test_sdist_can_be_read_by_people_and_builders(built: Built) -> None:
    with tarfile.open(built.sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "pipelines/__init__.py", "configs/__init__.py"} <= names


def test_presets_and_pipelines_are_found_in_a_fresh_environment(built: Built, repo: Path, tmp_path: Path) -> None:
    """The environment holds the wheel alone, not even torch: looking around must need nothing else."""
    venv.create(tmp_path / "fresh", with_pip=False)
    python = tmp_path / "fresh" / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--quiet", "--no-deps", "--no-index", str(built.wheel)], check=True)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    done = subprocess.run(
        [python, "-I", "-c", LOOK], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    seen = json.loads(done.stdout)
    assert Path(seen["file"]).is_relative_to(tmp_path)
    assert {p.name for p in (repo / "configs").glob("*.yaml")} <= set(seen["configs"])
    assert {p.name for p in (repo / "pipelines").glob("*.py")} <= set(seen["pipelines"])
    assert seen["typed"]
    assert {"Encoder", "EncoderState", "NeuralMemory"} <= set(seen["public"])
    assert (tmp_path / "fresh" / "bin" / "titans-seq").is_file()
