"""Workflows: the Snakemake folders that ship with the package, found by name and copied out to be run."""

from __future__ import annotations

import shutil
from importlib.resources import as_file, files
from importlib.resources.abc import Traversable
from pathlib import Path

from titans_seq.errors import ConfigError, OutputError, unknown_name

_PACKAGE = "titans_seq.pipelines"


def workflow_names() -> list[str]:
    """List the names of the shipped workflows, sorted."""
    folders = (entry for entry in _folder().iterdir() if entry.is_dir())
    return sorted(entry.name for entry in folders if entry.joinpath("workflow", "Snakefile").is_file())


def workflow_purpose(name: str) -> str:
    """Give the first line of a workflow's Snakefile, which says what it is for."""
    text = _found(name).joinpath("workflow", "Snakefile").read_text(encoding="utf-8")
    return text.partition("\n")[0].removeprefix("#").strip()


def copy_workflow(name: str, target: Path) -> Path:
    """Copy a workflow to the new folder ``target``.

    Raises
    ------
    UnknownNameError
        With the nearest names.
    ConfigError
        When ``target`` exists.
    OutputError
        When it cannot be written; nothing is left then.
    """
    source = _found(name)
    if target.exists():
        raise ConfigError(f"{target} exists; give a folder that does not")
    try:
        with as_file(source) as folder:
            shutil.copytree(folder, target, ignore=shutil.ignore_patterns("__pycache__"))
    except OSError as error:
        shutil.rmtree(target, ignore_errors=True)
        raise OutputError(f"{target}: cannot be written ({error.strerror or error})") from None
    return target


def _found(name: str) -> Traversable:
    if name not in workflow_names():
        raise unknown_name("workflow", name, workflow_names())
    return _folder().joinpath(name)


def _folder() -> Traversable:
    try:
        return files(_PACKAGE).joinpath("snakemake")
    except ModuleNotFoundError:
        # A checkout on PYTHONPATH without an install: the folder stands beside the package.
        return Path(__file__).resolve().parents[2] / "pipelines" / "snakemake"
