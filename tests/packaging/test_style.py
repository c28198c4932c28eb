"""What ruff cannot see: short files, modules that say what they are, no print, nothing of the machine at hand."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

MACHINE = re.compile(r"(?<![\w.])/(work|root|opt|home)/\w")
VAGUE = {"utils", "common", "helpers", "misc"}


@pytest.fixture(scope="module")
def library(repo: Path) -> dict[str, str]:
    """Path from the root to text, for every module that is shipped."""
    paths = [path for room in ("titans_seq", "pipelines") for path in (repo / room).rglob("*.py")]
    return {str(path.relative_to(repo)): path.read_text() for path in sorted(paths)}


def prints(source: str) -> Iterator[int]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            yield node.lineno


def test_no_file_is_long(library: dict[str, str]) -> None:
    assert [name for name, text in library.items() if len(text.splitlines()) > 400] == []


def test_every_module_says_what_it_is(library: dict[str, str]) -> None:
    assert [name for name, text in library.items() if not ast.get_docstring(ast.parse(text))] == []
    assert [name for name in library if Path(name).stem in VAGUE] == []


def test_library_code_does_not_print(library: dict[str, str]) -> None:
    rooms = {name: text for name, text in library.items() if not name.startswith("titans_seq/cli/")}
    assert [f"{name}:{line}" for name, text in rooms.items() for line in prints(text)] == []


def test_nothing_names_the_machine_it_was_written_on(library: dict[str, str], repo: Path) -> None:
    pages = [*repo.glob("*.md"), *repo.glob("*.toml"), repo / "Makefile", *(repo / "configs").glob("*.yaml")]
    texts = library | {page.name: page.read_text() for page in pages}
    assert [name for name, text in texts.items() if MACHINE.search(text)] == []
