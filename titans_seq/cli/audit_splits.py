"""`titans-seq audit-splits`: what a test part gives away before any model is trained."""

from __future__ import annotations

from typing import Any

import click

from titans_seq.cli.labelled_options import data_overrides, labelled_options


@click.command("audit-splits", no_args_is_help=True)
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.option("--test", multiple=True, metavar="SOURCE", help="Published test part; else a fifth is held out.")
@labelled_options
@click.option("-k", default=11, show_default=True, type=click.IntRange(4, 15), help="Length of the k-mers compared.")
@click.option("--seed", default=0, show_default=True, type=int, help="Of the part that is held out without --test.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(sources: tuple[str, ...], test: tuple[str, ...], k: int, seed: int, as_json: bool, **options: Any) -> None:
    """Look for shortcuts and copies between training and test part: length, GC, copies, near copies, intervals.

    SOURCE is what train-classifier takes. The exit code is 0 whatever is found; the verdict is the last line.

    \b
    titans-seq audit-splits train.csv --test test.csv
    titans-seq audit-splits promoter=tata.fa.gz other=non_prom.fa.gz
    titans-seq audit-splits train.bed --test test.bed --genome hg38.fa --json
    """
    from importlib import import_module

    from titans_seq.config.load import validate
    from titans_seq.config.overrides import apply_overrides
    from titans_seq.config.train_classifier import LabelledSection

    assignments = [text.removeprefix("data.") for text in data_overrides(options)]
    settings = validate(LabelledSection, apply_overrides({}, assignments, kind=LabelledSection), source="audit-splits")
    pipeline = import_module("titans_seq.pipelines.audit_splits")
    report = pipeline.run(settings, train=sources, test=test, genome=options["genome"], seed=seed, k=k)
    if as_json:
        import json

        click.echo(json.dumps(report, indent=1))
    else:
        click.echo(pipeline.audit_text(report))
