"""`titans-seq report`: print a run's table again."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("report")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print report.json itself.")
def command(run: Path, as_json: bool) -> None:
    """Print the report of RUN, a run folder."""
    from titans_seq.training.report import read_report, report_text

    report = read_report(run)
    if as_json:
        import json

        click.echo(json.dumps(report, indent=1))
    else:
        click.echo(report_text(report))
