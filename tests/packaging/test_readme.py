"""The README does what it says: its Python runs, its make targets, files and names exist."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

from titans_seq.memory import memory_names
from titans_seq.models import VARIANTS


@pytest.fixture(scope="module")
def text(repo: Path) -> str:
    return (repo / "README.md").read_text()


def test_the_examples_run(repo: Path) -> None:
    result = doctest.testfile(
        str(repo / "README.md"), module_relative=False, optionflags=doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL
    )
    assert result.attempted > 0
    assert result.failed == 0


def test_links_and_make_targets_exist(text: str, repo: Path) -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if not link.startswith("http")]
    assert [link for link in links if not (repo / link).exists()] == []
    targets = set(re.findall(r"^([a-z ]+):", (repo / "Makefile").read_text(), flags=re.M))
    known = {name for group in targets for name in group.split()}
    assert set(re.findall(r"\bmake ([a-z]+)\b", text)) <= known


def test_every_memory_and_encoder_is_listed(text: str) -> None:
    assert [name for name in (*memory_names(), *VARIANTS) if f"`{name}`" not in text] == []
