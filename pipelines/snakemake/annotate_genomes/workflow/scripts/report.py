"""One page: genes and bases by assembly, lengths of genes, and where the windows lie in the space of vectors."""

import csv
from collections import Counter, defaultdict
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

names = snakemake.params.assemblies
counts: dict[str, Counter[str]] = {}
lengths: dict[str, list[int]] = defaultdict(list)
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

vectors = pl.read_parquet(snakemake.input.embeddings)
windows = Counter(vectors["assembly"].to_list())
types = sorted({kind for kinds in counts.values() for kind in kinds})
header = ["assembly", "windows", *types, "median CDS, bp"]
table = [
    [name, windows[name], *(counts[name][kind] for kind in types),
     int(np.median(lengths[name])) if lengths[name] else ""]
    for name in names
]  # fmt: skip
with replacing(Path(snakemake.output.table)) as temporary, temporary.open("w", newline="") as out:
    csv.writer(out, delimiter="\t", lineterminator="\n").writerows([header, *table])

figure, axes = plt.subplots(figsize=(7, 3.5), layout="constrained")
for name in names:
    axes.hist(lengths[name], bins=np.geomspace(60, 20_000, 60), histtype="step", label=name)
axes.set(xscale="log", xlabel="length of a predicted CDS, bp", ylabel="genes")
axes.legend(fontsize=8)
with replacing(Path(snakemake.output.genes)) as temporary:
    figure.savefig(temporary, format="png", dpi=130)

matrix = vectors["vector"].to_numpy()
centred = matrix - matrix.mean(0)
_, spread, axes_of_spread = np.linalg.svd(centred[:: max(1, len(centred) // 20_000)], full_matrices=False)
places = centred @ axes_of_spread[:2].T
share = spread**2 / (spread**2).sum()
figure, axes = plt.subplots(figsize=(5, 4.5), layout="constrained")
for name in names:
    mine = (vectors["assembly"] == name).to_numpy()
    axes.scatter(*places[mine].T, s=3, alpha=0.4, label=name, linewidths=0)
axes.set(xlabel=f"first axis, {share[0]:.0%} of the spread", ylabel=f"second axis, {share[1]:.0%}")
axes.legend(fontsize=8, markerscale=4)
with replacing(Path(snakemake.output.map)) as temporary:
    figure.savefig(temporary, format="png", dpi=130)

rows = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in table)
write_text(
    Path(snakemake.output.page),
    plain_page(
        title="annotate_genomes",
        subtitle=f"{len(names)} assemblies, {len(vectors):,} windows",
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
