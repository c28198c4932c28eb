"""The command group and the one place where an error becomes a line and an exit code.

A command lives in a module of this room named after it, as ``command``. Those modules import click and the standard
library at the top and everything else inside the function, so that ``titans-seq --help`` answers at once.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import MutableMapping, Sequence
from importlib import import_module

import click

from titans_seq import __version__
from titans_seq.errors import InterruptedRun, TitansError

COMMANDS = (
    "train-dna",
    "train-regions",
    "annotate",
    "train-classifier",
    "classify",
    "audit-splits",
    "embed",
    "surprise",
    "repeats",
    "train-series",
    "forecast",
    "backtest",
    "observe",
    "detect",
    "report",
    "presets",
    "workflows",
    "doctor",
    "completion",
)

_INTERRUPTED = 130


class CommandGroup(click.Group):
    """Commands found by name, imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """List the commands in the order of a first use."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command, or None for a name that is not one."""
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"titans_seq.cli.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Name the nearest command when there is none by that name."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from titans_seq.errors import unknown_name

            raise unknown_name("command", args[0], COMMANDS)
        return super().resolve_command(ctx, args)


@click.group(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="titans-seq")
@click.option("-q", "--quiet", is_flag=True, help="Say only what went wrong.")
@click.option("-v", "--verbose", is_flag=True, help="Say more.")
def group(quiet: bool, verbose: bool) -> None:
    """Sequence models whose memory learns while it reads.

    \b
    titans-seq train-dna genome.fa.gz              train an encoder and write a report
    titans-seq presets ls                          what can be trained
    titans-seq report runs/genome-dna-small        print a report again
    """
    _wait_briefly(os.environ)
    alone_or_first = os.environ.get("RANK", "0") == "0"  # of the processes of a job (torchrun) one talks
    _log_to_stderr(logging.WARNING if quiet or not alone_or_first else logging.DEBUG if verbose else logging.INFO)


def _wait_briefly(environment: MutableMapping[str, str]) -> None:
    """Let threads give up their core soon after a parallel loop; before PyTorch brings its OpenMP along.

    GNU's OpenMP lets them spin 300,000 times (about a millisecond) for the next loop. On cores that others use as well
    each waits for one that was put aside meanwhile: training on two threads took five times as long as with 3,000
    spins, which cost a free machine two in a hundred.
    """
    if "OMP_WAIT_POLICY" not in environment:
        environment.setdefault("GOMP_SPINCOUNT", "3000")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave the process with its exit code.

    0: done. 1: the run failed. 2: the input or the call is at fault. 130: interrupted, with what was done saved.
    """
    try:
        result = group.main(args=None if arguments is None else list(arguments), standalone_mode=False)
        code = result if isinstance(result, int) else 0
    except TitansError as error:
        _complain(str(error))
        code = _INTERRUPTED if isinstance(error, InterruptedRun) else error.exit_code
    except click.ClickException as error:
        _complain(error.format_message())
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        _complain("interrupted")
        code = _INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone (`| head`); nobody is left to tell.
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
        code = 1
    except OSError as error:
        from titans_seq.files import is_full

        if not is_full(error):
            raise
        _complain(f"{error.filename or 'standard output'}: the disk is full; free some space and run the command again")
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - what is left in it cannot be written at the end either
        code = 1
    raise SystemExit(code)


def _complain(message: str) -> None:
    click.echo("titans-seq: " + " ".join(message.split()), err=True)


class _Echo(logging.Handler):
    """Log lines to whatever standard error is now (a progress bar may have taken its place)."""

    def emit(self, record: logging.LogRecord) -> None:
        prefix = "" if record.levelno <= logging.INFO else f"{record.levelname.lower()}: "
        click.echo(prefix + record.getMessage(), err=True)


def _log_to_stderr(level: int) -> None:
    logger = logging.getLogger("titans_seq")
    logger.handlers = [_Echo()]
    logger.setLevel(level)
    logger.propagate = False
