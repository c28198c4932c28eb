"""Finding the compiled kernels, and doing without them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from titans_seq.ops import native
from titans_seq.ops.native import LEVELS, VERSION, load


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    load.cache_clear()
    yield
    load.cache_clear()


def test_says_which_instructions_it_uses() -> None:
    library, words = load()
    if library is None:
        assert words.startswith("not built")
    else:
        assert words in {f"built, {name}" for name in LEVELS.values()}


def test_switched_off_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TITANS_SEQ_NATIVE", "0")
    assert load() == (None, "switched off by TITANS_SEQ_NATIVE=0")


def test_a_library_of_other_sources_is_refused(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if load()[0] is None:
        pytest.skip(f"compiled kernels: {load()[1]}")
    load.cache_clear()
    monkeypatch.setattr(native, "VERSION", VERSION + 1)
    library, words = load()
    assert library is None
    assert words == f"of version {VERSION}, but {VERSION + 1} is wanted; install the package again"
    assert "install it again" in caplog.text


def test_versions_agree() -> None:
    header = (Path(native.__file__).parent / "chunk.h").read_text()
    found = re.search(r"NATIVE_VERSION = (\d+)", header)
    assert found is not None
    assert int(found[1]) == VERSION


def test_threads_are_shared_with_pytorch() -> None:
    """One OpenMP in the process: two would wait for each other."""
    if load()[0] is None or not Path("/proc/self/maps").exists():
        pytest.skip("needs the compiled kernels and /proc")
    torch.ones(1)
    maps = Path("/proc/self/maps").read_text().splitlines()
    pools = {
        line.split()[-1] for line in maps if ("libgomp" in line and "torch" in line) or line.endswith("libgomp.so.1")
    }
    assert len(pools) <= 1
