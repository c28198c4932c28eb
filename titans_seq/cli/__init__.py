"""The `titans-seq` command."""

from titans_seq.cli.group import main

__all__ = ["main"]
