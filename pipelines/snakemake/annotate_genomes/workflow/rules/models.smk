# Models: taken from the configuration, or trained on what the sheet holds. A run that was killed goes on.
rule train_regions:
    input:
        [path for row in ANNOTATED for path in (row["genome"], row["annotation"])],
    output:
        # The report too: one that is left where snakemake took an unfinished model away would mean a finished run.
        multiext("results/models/regions/", "model.safetensors", "report.json"),
    params:
        run=lambda wildcards, output: str(Path(output[0]).parent),
        options=config["train_regions"],
    log:
        "logs/train_regions.log",
    benchmark:
        "benchmarks/train_regions.tsv"
    threads: config["threads"]["train"]
    resources:
        mem_mb=config["memory_mb"]["train"],
        runtime=config["runtime_minutes"]["train"],
    conda:
        "../envs/titans-seq.yaml"
    shell:
        "titans-seq train-regions {input} {params.options} --set run.threads={threads} --out {params.run} "
        "$(test -e {params.run}/config.yaml && echo --resume) > {log} 2>&1"


rule train_dna:
    input:
        [row["genome"] for row in ASSEMBLIES.values()],
    output:
        multiext("results/models/dna/", "model.safetensors", "report.json"),
    params:
        run=lambda wildcards, output: str(Path(output[0]).parent),
        options=config["train_dna"],
    log:
        "logs/train_dna.log",
    benchmark:
        "benchmarks/train_dna.tsv"
    threads: config["threads"]["train"]
    resources:
        mem_mb=config["memory_mb"]["train"],
        runtime=config["runtime_minutes"]["train"],
    conda:
        "../envs/titans-seq.yaml"
    shell:
        "titans-seq train-dna {input} {params.options} --set run.threads={threads} --out {params.run} "
        "$(test -e {params.run}/config.yaml && echo --resume) > {log} 2>&1"
