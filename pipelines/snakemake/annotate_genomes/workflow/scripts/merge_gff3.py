"""Join GFF3 parts: the header once, then every part's lines; contigs lie in one part each, so nothing is reordered."""

from pathlib import Path

from titans_seq.files import replacing

with replacing(Path(snakemake.output[0])) as temporary, temporary.open("w") as out:
    out.write("##gff-version 3\n")
    for part in snakemake.input:
        with Path(part).open() as lines:
            out.writelines(line for line in lines if not line.startswith("##gff-version"))
