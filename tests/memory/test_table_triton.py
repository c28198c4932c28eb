"""Starts the tests of the table's Triton kernels: under the interpreter, and compiled, each in its own process."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")


def started(repo: Path, file: str, environment: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"tests/memory/{file}"],
        cwd=repo, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


def test_kernels_under_the_interpreter(repo: Path) -> None:
    started(repo, "table_interpreted.py", {**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"})


@pytest.mark.slow
def test_kernels_compile_for_two_cards(repo: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    started(repo, "table_compiled.py", environment)
