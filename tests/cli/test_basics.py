"""The commands that need no model: help, version, presets, doctor, completion, and what a mistake looks like."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from titans_seq import __version__
from titans_seq.cli.group import COMMANDS, _wait_briefly
from titans_seq.config import preset_names, preset_text


def test_help_names_every_command(ask) -> None:
    answer = ask("--help")
    assert answer.code == 0
    assert all(name in answer.out for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(ask, name: str) -> None:
    answer = ask(name, "--help")
    assert answer.code == 0
    assert answer.out.startswith("Usage:")


def processor_seconds() -> float:
    """Seconds that child processes have computed: unlike the clock on the wall, the same on a busy machine."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.parametrize("given", [{}, {"GOMP_SPINCOUNT": "7"}, {"OMP_WAIT_POLICY": "active"}])
def test_threads_wait_briefly_unless_told_otherwise(given: dict[str, str]) -> None:
    environment = dict(given)
    _wait_briefly(environment)
    assert environment == (given or {"GOMP_SPINCOUNT": "3000"})


def test_help_is_quick_and_imports_no_torch() -> None:
    code = "import sys; from titans_seq.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    code += (
        "print([m for m in ('torch', 'numpy', 'pydantic', 'rich', 'matplotlib') if m in sys.modules], file=sys.stderr)"
    )
    best = 9.0
    for _ in range(5):
        began = processor_seconds()
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        best = min(best, processor_seconds() - began)
        assert done.stderr.strip() == "[]"
    assert best < 0.3


def test_the_module_is_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "titans_seq", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"titans-seq, version {__version__}"


def test_presets_are_listed_shown_and_copied(ask, tmp_path: Path) -> None:
    listed = ask("presets", "ls")
    assert [line.split()[0] for line in listed.out.splitlines()] == preset_names()
    assert ask("presets", "show", "dna-small").out == preset_text("dna-small")
    target = tmp_path / "mine.yaml"
    assert ask("presets", "cp", "dna-small", target).code == 0
    assert target.read_text() == preset_text("dna-small")
    again = ask("presets", "cp", "dna-small", target)
    assert again.code == 2
    assert "exists" in again.err


def test_doctor_says_what_there_is(ask) -> None:
    answer = ask("doctor")
    assert answer.code == 0
    lines = dict(line.split(maxsplit=1) for line in answer.out.splitlines() if line.strip() and line[0] != "-")
    assert lines["titans-seq"] == __version__
    assert "cpu" in lines["devices"]
    assert {"torch", "kernels", "threads"} <= lines.keys()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(ask, shell: str) -> None:
    answer = ask("completion", shell)
    assert answer.code == 0
    assert "_TITANS_SEQ_COMPLETE" in answer.out


def test_completion_offers_commands() -> None:
    asked = {"_TITANS_SEQ_COMPLETE": "bash_complete", "COMP_WORDS": "titans-seq tr", "COMP_CWORD": "1"}
    code = "from titans_seq.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.argv[0] = 'titans-seq'; {code}"],
        env={**os.environ, **asked}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "plain,train-dna" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["trian-dna"], 2, "unknown command 'trian-dna'; did you mean 'train-dna'"),
        (["presets", "show", "dna-tny"], 2, "unknown preset 'dna-tny'; did you mean 'dna-tiny'"),
        (["train-dna", "x.fa", "--steps", "3", "--epochs", "2"], 2, "found --steps, --epochs"),
        (["train-dna", "x.fa", "--stepz", "3"], 2, "No such option"),
        (["report", "nowhere"], 2, "nowhere: no such run folder"),
        (["completion", "tcsh"], 2, "'tcsh' is not one of"),
    ],
)
def test_a_mistake_is_one_line(ask, arguments: list[str], code: int, words: str) -> None:
    answer = ask(*arguments)
    assert (answer.code, answer.out) == (code, "")
    assert words in answer.err
    assert answer.err.startswith("titans-seq: ")
    assert answer.err.count("\n") == 1
