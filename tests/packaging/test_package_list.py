"""The explicit package list in pyproject.toml is the folders on disk, no more and no less."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def declared(repo: Path) -> dict[str, list[str]]:
    settings: dict[str, dict[str, dict[str, list[str]]]] = tomllib.loads((repo / "pyproject.toml").read_text())
    return settings["tool"]["setuptools"]


def test_the_list_matches_the_folders(declared: dict[str, list[str]], repo: Path) -> None:
    inside = {path.parent for path in (repo / "titans_seq").rglob("__init__.py")}
    found = {".".join(folder.relative_to(repo).parts) for folder in inside}
    found |= {f"titans_seq.{room}" for room in ("pipelines", "configs") if (repo / room / "__init__.py").is_file()}
    assert sorted(declared["packages"]) == sorted(found)


def test_no_folder_of_modules_without_an_init(repo: Path) -> None:
    for room in ("titans_seq", "pipelines", "configs"):
        for module in (repo / room).rglob("*.py"):
            if "snakemake" not in module.parts:
                assert (module.parent / "__init__.py").is_file(), f"{module.parent} has modules but no __init__.py"


def test_the_editable_install_finds_the_mapped_rooms(repo: Path) -> None:
    from importlib.resources import files

    for room in ("pipelines", "configs"):
        assert files(f"titans_seq.{room}").joinpath("__init__.py").is_file()
