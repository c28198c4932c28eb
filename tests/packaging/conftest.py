"""One sdist and one wheel per test process, built from a clean copy of the tree without any network."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest


class Built(NamedTuple):
    """Paths of what `python -m build` made."""

    sdist: Path
    wheel: Path


@pytest.fixture(scope="session")
def built(repo: Path, tmp_path_factory: pytest.TempPathFactory) -> Built:
    tree = tmp_path_factory.mktemp("tree")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(repo / name, tree / name)
    for name in ("titans_seq", "pipelines", "configs"):
        shutil.copytree(repo / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    # Without a target, `build` makes the wheel from the sdist: what is missing there is missing in the wheel.
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", "dist"]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (sdist,) = (tree / "dist").glob("*.tar.gz")
    (wheel,) = (tree / "dist").glob("*.whl")
    return Built(sdist, wheel)
