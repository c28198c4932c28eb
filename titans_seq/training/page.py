"""`report.html`: a report as one self-contained page, pictures inside."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ --ink: #1d2529; --soft: #5d6a70; --rule: #dde3e6; --accent: #0b6e4f; --tint: #f1f7f4; }}
body {{ font: 15px/1.55 system-ui, sans-serif; color: var(--ink); }}
body {{ max-width: 60rem; margin: 2.5rem auto; padding: 0 1.2rem; }}
h1 {{ font-size: 1.5rem; margin: 0 0 .2rem; }} h2 {{ font-size: 1.1rem; margin: 2rem 0 .6rem; }}
p.sub {{ color: var(--soft); margin: 0 0 1.2rem; }}
p.remark {{ border-left: 3px solid var(--accent); background: var(--tint); padding: .6rem .9rem; margin: .6rem 0; }}
.wide {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; }}
th, td {{ padding: .25rem .8rem; text-align: right; border-bottom: 1px solid var(--rule); white-space: nowrap; }}
th:first-child, td:first-child {{ text-align: left; }} td small {{ color: var(--soft); }}
tr.first td {{ border-top: 2px solid var(--ink); }} tr.best td:nth-child(2) {{ font-weight: 700; }}
dl {{ display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem; font-size: .9rem; }}
dt {{ color: var(--soft); }} dd {{ margin: 0; }} img {{ max-width: 100%; }}
pre {{ background: #f6f8f9; padding: .8rem; overflow-x: auto; font-size: .8rem; }}
footer {{ color: var(--soft); font-size: .8rem; margin-top: 2rem; }}
</style>
</head>
<body>
<h1>{title}</h1>
<p class="sub">{subtitle}</p>
{remarks}
<h2>{heading}</h2>
<div class="wide">{table}</div>
{pictures}
<h2>Run</h2>
<dl>{facts}</dl>
<h2>Configuration</h2>
<pre>{config}</pre>
<footer>titans-seq {version}, {created}</footer>
</body>
</html>
"""


def report_page(report: dict[str, Any], *, pictures: Mapping[str, Path], config: str) -> str:
    """Give the page as HTML.

    Parameters
    ----------
    report
        What ``report.json`` holds.
    pictures
        PNG files by heading.
    config
        The resolved configuration as YAML.
    """
    genome, training, evaluation = report["genome"], report["training"], report["evaluation"]
    return plain_page(
        title=f"train-dna: {', '.join(genome['files'])}",
        subtitle=f"{genome['contigs']} contigs, {genome['bases']:,} bases, GC {genome['gc']:.1%}; "
        f"{evaluation['bases']:,} held-out bases scored",
        remarks=evaluation["remarks"],
        heading="Bits per base on the held-out part",
        table=_table(evaluation),
        pictures=pictures,
        facts=_facts(report, training),
        config=config,
        version=report["titans_seq"],
        created=report["created"],
    )


def plain_page(
    *,
    title: str,
    subtitle: str,
    remarks: Sequence[str],
    heading: str,
    table: str,
    pictures: Mapping[str, Path],
    facts: Sequence[tuple[str, str]],
    config: str,
    version: str,
    created: str,
) -> str:
    """Give the page of any report: ``table`` is HTML already, all else is text."""
    return _PAGE.format(
        title=escape(title),
        subtitle=escape(subtitle),
        remarks="\n".join(f'<p class="remark">{escape(text)}</p>' for text in remarks),
        heading=escape(heading),
        table=table,
        pictures="\n".join(_picture(name, path) for name, path in pictures.items()),
        facts="\n".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts),
        config=escape(config),
        version=escape(version),
        created=escape(created),
    )


def _table(evaluation: dict[str, Any]) -> str:
    classes = list(evaluation["classes"])
    head = "".join(f"<th>{escape(name)}</th>" for name in ("", "all", *classes))
    sizes = [evaluation["bases"], *evaluation["classes"].values()]
    bases = "<tr><td>bases</td>" + "".join(f"<td>{size:,}</td>" for size in sizes) + "</tr>"
    best = min(row["all"] for row in evaluation["rows"])
    body, group = [], None
    for row in evaluation["rows"]:
        marks = [name for name, on in (("first", row["group"] != group), ("best", row["all"] == best)) if on]
        group = row["group"]
        values = [row["all"], *(row["classes"].get(name, float("nan")) for name in classes)]
        cells = "".join(f"<td>{value:.4f}</td>" for value in values)
        note = f" <small>{escape(row['note'])}</small>" if row["note"] else ""
        body.append(f'<tr class="{" ".join(marks)}"><td>{escape(row["label"])}{note}</td>{cells}</tr>')
    return f"<table><thead><tr>{head}</tr></thead><tbody>{bases}{''.join(body)}</tbody></table>"


def _picture(heading: str, path: Path) -> str:
    data = b64encode(path.read_bytes()).decode("ascii")
    return f'<h2>{escape(heading)}</h2>\n<img alt="{escape(heading)}" src="data:image/png;base64,{data}">'


def _facts(report: dict[str, Any], training: dict[str, Any]) -> list[tuple[str, str]]:
    runtime = report["runtime"]
    return [
        ("parameters", f"{report['model']['parameters']:,}"),
        ("training", f"{training['steps']:,} steps, {training['bases']:,} bases, {training['seconds'] / 60:.1f} min"),
        ("speed", f"{training['bases_per_second']:,.0f} bases/s"),
        (
            "peak RAM",
            f"{training['peak_ram_mb']:,.0f} MB in training, {report['evaluation']['peak_ram_mb']:,.0f} MB in all",
        ),
        ("steps left out", f"{training['skipped']}"),
        (
            "machine",
            f"{runtime['device']}, {runtime['precision']}, {runtime['threads']} threads, torch {runtime['torch']}",
        ),
        ("scoring", ", ".join(f"{name} {value:.0f} s" for name, value in report["evaluation"]["seconds"].items())),
        ("seed", f"{report['seed']}"),
    ]
