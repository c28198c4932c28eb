"""Join GFF3 parts: the version once, a contig's line once though it may be cut, then every part's rows in order."""

from pathlib import Path

from titans_seq.files import replacing

contigs: set[str] = set()
with replacing(Path(snakemake.output[0])) as temporary, temporary.open("w") as out:
    out.write("##gff-version 3\n")
    for part in snakemake.input:
        with Path(part).open() as lines:
            for line in lines:
                if line.startswith("##gff-version") or line in contigs:
                    continue
                if line.startswith("##sequence-region"):
                    contigs.add(line)
                out.write(line)
