"""`train-regions` and `annotate` through the command line: a whole run on a made genome, and files that do not fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from Bio import SeqIO

from tests.cli.conftest import Ask
from tests.genomics import spliced_genome
from titans_seq.genomics import decode, encode, read_annotation, reverse_complement
from titans_seq.genomics.labels import transcripts

CODONS = ["GCG", "CTG", "GAA", "AAA", "GAT", "GGC", "ACC", "CAG"]
MICRO = {
    "model.d_model": "16", "model.n_layers": "1", "model.chunk_size": "8", "letters.width": "8", "blocks.rows": "2",
    "blocks.length": "768", "blocks.margin": "96", "evaluation.baseline_windows": "400", "run.device": "cpu",
    "run.checkpoint_steps": "2", "evaluation.cnn_steps": "3", "split.valid_fraction": "0.3",
    "evaluation.stretch": "1500",
}  # fmt: skip
ROWS = (
    "majority", "GC regression", "k-mer regression", "one-hot regression", "small CNN", "random weights",
    "titans_lmm, carried", "titans_lmm, reset", "titans_lmm, off", "codon counts, no network", "runs of bases",
)  # fmt: skip
SET = [word for key, value in MICRO.items() for word in ("--set", f"{key}={value}")]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A genome of 70 genes of few codons on both strands and some tRNA, with Windows line ends in its annotation."""
    random = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("made")
    letters, rows, at = [], [], 0
    for number in range(70):
        spacer = "".join(random.choice(list("ACGT"), int(random.integers(60, 140))))
        unit = "AGGAGGTATACATATG" + "".join(random.choice(CODONS, int(random.integers(50, 110)))) + "TAA"
        reverse = number % 2 == 1
        start = at + len(spacer) + (0 if reverse else 13)
        end = start + len(unit) - 13
        rows.append(f"chr\tm\tCDS\t{start + 1}\t{end}\t.\t{'-' if reverse else '+'}\t0\tID=c{number}")
        if number % 7 == 0:
            rows.append(f"chr\tm\ttRNA\t{at + 6}\t{at + 45}\t.\t+\t.\tID=t{number}")
        letters += [spacer, decode(reverse_complement(encode(unit))) if reverse else unit]
        at += len(spacer) + len(unit)
    genome, annotation = folder / "made.fa", folder / "made.gff3"
    genome.write_text(f">chr made\n{''.join(letters)}\n")
    annotation.write_bytes("\r\n".join(["##gff-version 3", *rows, ""]).encode())
    return genome, annotation


def test_from_an_annotated_genome_to_the_annotation_of_another(
    ask: Ask, made: tuple[Path, Path], tmp_path: Path
) -> None:
    genome, annotation = made
    run = tmp_path / "run"
    words = ["--preset", "regions-tiny", "--classes", "CDS,tRNA", "--steps", "3", *SET, "--out", run]
    done = trained = ask("train-regions", genome, annotation, *words)
    assert done.code == 0, done.err
    for name in ROWS:
        assert name in done.out
    report = json.loads((run / "report.json").read_text())
    assert report["evaluation"]["plain"]["genes"]["stops"] > 0.8
    assert report["evaluation"]["arms"]["carried"]["genes"]["stops"] > 0.8
    assert {path.name for path in run.glob("*.png")} == set(report["pictures"])
    assert "<table>" in (run / "report.html").read_text()

    out = tmp_path / "genes.gff3"
    done = ask("annotate", genome, "--model", run, "-o", out)
    assert done.code == 0, done.err
    truth, found = read_annotation(annotation), read_annotation(out)
    stops = [
        {(s, e if s > 0 else b) for b, e, s in zip(f.start, f.end, f.strand, strict=True)}
        for f in (truth.select(["CDS"]), found.select(["CDS"]))
    ]
    assert len(stops[0] & stops[1]) > 60
    record = SeqIO.read(genome, "fasta")
    for start, end, strand in zip(
        *(getattr(found.select(["CDS"]), c) for c in ("start", "end", "strand")), strict=True
    ):
        letters = record.seq[int(start) : int(end)]
        protein = (letters if strand > 0 else letters.reverse_complement()).translate(table=11)
        assert "*" not in protein[:-1]
        assert len(letters) % 3 == 0

    bed, track = tmp_path / "genes.bed", tmp_path / "coding.bedgraph"
    assert ask("annotate", genome, "--model", run, "-o", bed, "--classes", "CDS", "--adapt", "1").code == 0
    assert len(bed.read_text().splitlines()) == len(found.select(["CDS"]))  # too few genes to adapt to
    assert ask("annotate", genome, "--model", run, "-o", track, "--bin", "50", "--read-first").code == 0
    values = [float(line.split("\t")[3]) for line in track.read_text().splitlines()]
    assert 0 <= min(values) <= max(values) <= 1

    for whole, words_of in ((out, []), (track, ["--bin", "50", "--read-first"])):  # one contig, cut in three
        texts = []
        for shard in ("1/3", "2/3", "3/3"):
            assert ask("annotate", genome, "--model", run, "-o", whole, "--shard", shard, *words_of).code == 0
            texts.append(whole.with_name(f"{whole.stem}.{shard[0]}-of-3{whole.suffix}").read_text())
        head = "".join(line for line in texts[0].splitlines(keepends=True) if line.startswith("#"))
        assert all(text.startswith(head) and text != head for text in texts)
        assert head + "".join(text.removeprefix(head) for text in texts) == whole.read_text()

    again = ask("train-regions", "--resume", "--out", run)
    assert again.code == 0
    assert again.out == trained.out
    more = ask("train-regions", genome, annotation, "--from", run, *words[:-1], tmp_path / "more")
    assert more.code == 0, more.err
    assert json.loads((tmp_path / "more" / "run.json").read_text())["from"] == str(run)  # so does its resume
    other = ask(
        "train-regions", genome, annotation, "--from", run, "--preset", "regions-tiny", "--out", tmp_path / "no"
    )
    assert other.code == 2
    assert "differ from this preset's" in other.err
    wrong = ask("annotate", genome, "--model", run, "-o", out, "--classes", "rRNA")
    assert (wrong.code, "unknown class of this model 'rRNA'" in wrong.err) == (2, True)
    wrong = ask("annotate", genome, "--model", run, "-o", tmp_path / "genes.txt")
    assert (wrong.code, "expected a name that ends in one of .gff3" in wrong.err) == (2, True)


def test_genes_with_introns_from_training_to_gff3(ask: Ask, tmp_path: Path) -> None:
    tokens, genes, _ = spliced_genome.made(0, genes=60)
    rows = []
    for number, (strand, parts) in enumerate(genes):
        position = 0
        for start, end in parts[::strand]:
            cells = ("chr", "m", "CDS", start + 1, end, ".", "+" if strand > 0 else "-", -position % 3, f"ID=c{number}")
            rows.append("\t".join(map(str, cells)))
            position += end - start
    genome, annotation, run, out = (tmp_path / name for name in ("made.fa", "made.gff3", "run", "found.gff3"))
    genome.write_text(f">chr\n{decode(tokens)}\n")
    annotation.write_text("\n".join(["##gff-version 3", *rows, ""]))
    words = ["--preset", "regions-tiny", "--classes", "CDS,intron", "--steps", "3", *SET, "--out", run]
    done = ask("train-regions", genome, annotation, *words, "--set", "evaluation.baseline_windows=0")
    assert done.code == 0, done.err
    assert "genes with introns" in done.out
    done = ask("annotate", genome, "--model", run, "-o", out, "--classes", "CDS")
    assert done.code == 0, done.err
    found = transcripts(read_annotation(out), "CDS")
    whole = {(t.strand, t.parts) for t in found} & set(genes)
    assert len(whole) >= 20  # the network has learned next to nothing: the letters around the sites say it
    assert all(t.codon_positions()[1] == 0 for t in found if t.start > 0 and t.end < len(tokens))
    wrong = ask("annotate", genome, "--model", run, "-o", out, "--adapt", "1")
    assert (wrong.code, "its genes have introns" in wrong.err) == (2, True)
    wrong = ask(
        "train-regions", genome, annotation, "--classes", "CDS", "--decode", "spliced", "--out", tmp_path / "no"
    )
    assert (wrong.code, "decode=spliced needs the classes CDS and intron" in wrong.err) == (2, True)


def test_seeds_in_one_run_are_those_of_single_runs(ask: Ask, made: tuple[Path, Path], tmp_path: Path) -> None:
    run, alone = tmp_path / "run", tmp_path / "alone"
    words = ["--preset", "regions-tiny", "--classes", "CDS,tRNA", "--steps", "2", *SET]
    words += ["--set", 'evaluation.arms=["carried", "reset"]', "--set", "evaluation.cnn_steps=0"]
    words += ["--set", "evaluation.baseline_windows=0"]
    done = ask("train-regions", *made, *words, "--members", "2", "--out", run)
    assert done.code == 0, done.err
    report = json.loads((run / "report.json").read_text())
    seeds = [json.loads((run / f"member-{n}" / "report.json").read_text()) for n in range(2)]
    assert [seed["seed"] for seed in report["members"]] == [0, 1]
    for arm in ("carried", "reset"):
        scores = [seed["evaluation"]["arms"][arm] for seed in seeds]
        for table, row in (
            ("bases", [f["classes"][0]["f1"] for f in scores]),
            ("genes", [f["genes"]["exact"] for f in scores]),
        ):
            shown = dict(report["tables"][table])[f"titans_lmm, {arm}"]
            assert f"{np.mean(row):.3f} +- {np.std(row, ddof=1):.3f}" in shown
    assert "seed 1" in (run / "report.html").read_text()
    assert (run / "model.safetensors").read_bytes() == (run / "member-0" / "model.safetensors").read_bytes()
    assert ask("annotate", made[0], "--model", run, "-o", tmp_path / "genes.gff3").code == 0

    assert ask("train-regions", *made, *words, "--seed", "1", "--out", alone).code == 0
    one = json.loads((alone / "report.json").read_text())
    assert _untimed(one["evaluation"]) == _untimed(seeds[1]["evaluation"])

    # Killed while the second one was begun: the first is read, the second trained.
    (run / "report.json").unlink()
    (run / "member-1" / "config.yaml").unlink()
    kept = (run / "member-0" / "report.json").stat().st_mtime_ns
    again = ask("train-regions", "--resume", "--out", run)
    assert again.code == 0, again.err
    assert (run / "member-0" / "report.json").stat().st_mtime_ns == kept
    more = json.loads((run / "report.json").read_text())
    assert more["tables"] == report["tables"]


def _untimed(evaluation: dict[str, Any]) -> dict[str, Any]:
    arms = {
        name: {key: value for key, value in arm.items() if key != "seconds"} for name, arm in evaluation["arms"].items()
    }
    return evaluation | {"arms": arms}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{genome}"], "expected an annotation (GFF3, GTF, GenBank or BED) behind the genome"),
        (["{annotation}", "{genome}"], "expected a genome in front of the annotation"),
        (
            ["{genome}", "{annotation}", "--classes", "CDS,rRNA"],
            "no row of class 'rRNA'; there are CDS (70), tRNA (10)",
        ),
        (
            ["{genome}", "{annotation}", "--classes", "CDS", "--split", "file"],
            "a split by file needs two genomes or more",
        ),
        (["{genome}", "{annotation}", "--classes", "CDS", "--valid-contigs", "chr9"], "no contig 'chr9'"),
        (["{genome}", "{annotation}", "--table", "99"], "expected an NCBI translation table"),
        (["{genome}", "{annotation}", "--frames", "exon"], "expected frames of at most one of the classes"),
        (
            ["{genome}", "{annotation}", "--steps", "3", "--minutes", "3"],
            "expected one of --steps, --epochs, --minutes",
        ),
        (["{genome}", "{renamed}"], "no contig name is also in the genome"),
        (["{genome}", "{beyond}"], "ends beyond its"),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(
    ask: Ask, made: tuple[Path, Path], tmp_path: Path, words: list[str], message: str
) -> None:
    genome, annotation = made
    renamed, beyond = tmp_path / "renamed.gff3", tmp_path / "beyond.gff3"
    renamed.write_text(annotation.read_text().replace("chr\t", "chromosome\t"))
    beyond.write_text(annotation.read_text() + "chr\tm\tCDS\t900001\t900003\t.\t+\t0\tID=far\n")
    places = {"genome": genome, "annotation": annotation, "renamed": renamed, "beyond": beyond}
    answer = ask("train-regions", *(word.format(**places) for word in words), "--out", tmp_path / "run")
    assert answer.code == 2
    assert message in answer.err
    assert not (tmp_path / "run").exists()
