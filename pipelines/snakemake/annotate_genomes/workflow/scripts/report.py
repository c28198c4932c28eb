"""One page: genes and windows by assembly, lengths of genes, and where the windows lie in the space of vectors.

Thousands of assemblies fit: of the vectors, some thousands are read for the picture, and none besides.
"""

import csv
from array import array
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np
import polars as pl
import yaml

from titans_seq import __version__
from titans_seq.files import replacing, write_text
from titans_seq.training.page import plain_page

DRAWN = 20_000
"""Windows in the picture, at most about twice as many."""
NAMED = 12
"""Assemblies that have a colour of their own in the pictures; where there are more, none has."""

names = snakemake.params.assemblies
counts: dict[str, Counter[str]] = {}
lengths = {name: array("q") for name in names}
for name, path in zip(names, snakemake.input.annotations, strict=True):
    kinds: Counter[str] = Counter()
    with Path(path).open() as lines:
        for line in lines:
            if not line.startswith("#"):
                fields = line.split("\t")
                kinds[fields[2]] += 1
                if fields[2] == "CDS":
                    lengths[name].append(int(fields[4]) - int(fields[3]) + 1)
    counts[name] = kinds

embeddings = pl.scan_parquet(snakemake.input.embeddings)
windows = dict(embeddings.group_by("assembly").len().collect().rows())
total = sum(windows.values())
types = sorted({kind for kinds in counts.values() for kind in kinds})
header = ["assembly", "windows", *types, "median CDS, bp"]
table = [
    [name, windows.get(name, 0), *(counts[name][kind] for kind in types),
     int(np.median(lengths[name])) if lengths[name] else ""]
    for name in names
]  # fmt: skip
with replacing(Path(snakemake.output.table)) as temporary, temporary.open("w", newline="") as out:
    csv.writer(out, delimiter="\t", lineterminator="\n").writerows([header, *table])

groups = {name: [name] for name in names} if len(names) <= NAMED else {f"{len(names):,} assemblies": names}
figure, axes = plt.subplots(figsize=(7, 3.5), layout="constrained")
for label, members in groups.items():
    found = np.concatenate([np.asarray(lengths[name]) for name in members])
    axes.hist(found, bins=np.geomspace(60, 20_000, 60), histtype="step", label=label)
every = np.concatenate([np.asarray(found) for found in lengths.values()])
shortest, longest = (every.min(), every.max()) if every.size else (60, 20_000)
axes.set(xscale="log", xlim=(0.8 * shortest, 1.25 * longest), xlabel="length of a predicted CDS, bp", ylabel="genes")
axes.legend(fontsize=8)
with replacing(Path(snakemake.output.genes)) as temporary:
    figure.savefig(temporary, format="png", dpi=130)

chosen = embeddings.select("assembly", "vector").with_row_index().filter(pl.col("index") % max(1, total // DRAWN) == 0)
some = chosen.collect(engine="streaming")
matrix = some["vector"].to_numpy()
known = ~np.isnan(matrix).any(1)  # a window of N alone has no vector
some, matrix = some.filter(known), matrix[known]
centred = matrix - matrix.mean(0)
_, spread, axes_of_spread = np.linalg.svd(centred, full_matrices=False)
places = centred @ axes_of_spread[:2].T
share = spread**2 / (spread**2).sum()
size = float(np.clip(3e4 / max(1, len(matrix)), 3, 25))  # few points are seen, many do not hide each other
figure, axes = plt.subplots(figsize=(5, 4.5), layout="constrained")
for label, members in groups.items():
    mine = some["assembly"].is_in(members).to_numpy()
    axes.scatter(*places[mine].T, s=size, alpha=0.5, label=label, linewidths=0)
axes.set(xlabel=f"first axis, {share[0]:.0%} of the spread", ylabel=f"second axis, {share[1]:.0%}")
axes.legend(fontsize=8, markerscale=max(1, 5 / size**0.5))
with replacing(Path(snakemake.output.map)) as temporary:
    figure.savefig(temporary, format="png", dpi=130)

rows = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in table)
write_text(
    Path(snakemake.output.page),
    plain_page(
        title="annotate_genomes",
        subtitle=f"{len(names):,} {'assembly' if len(names) == 1 else 'assemblies'}, {total:,} windows",
        remarks=[],
        heading="Features found",
        table="<table><tr>" + "".join(f"<th>{cell}</th>" for cell in header) + f"</tr>{rows}</table>",
        pictures={
            "Lengths of genes": Path(snakemake.output.genes),
            "Windows in the space of their vectors": Path(snakemake.output.map),
        },
        facts=(),
        config=yaml.safe_dump(snakemake.config, sort_keys=False),
        version=__version__,
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    ),
)
