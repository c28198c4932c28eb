# Parts put together, and one page about everything.
rule merge_annotations:
    input:
        expand("results/parts/{{assembly}}.{tag}.gff3", tag=TAGS),
    output:
        "results/annotations/{assembly}.gff3",
    log:
        "logs/merge_annotations/{assembly}.log",
    benchmark:
        "benchmarks/merge_annotations/{assembly}.tsv"
    threads: 1
    conda:
        "../envs/titans-seq.yaml"
    script:
        "../scripts/merge_gff3.py"


rule merge_embeddings:
    input:
        expand("results/parts/{assembly}.{tag}.parquet", assembly=ASSEMBLIES, tag=TAGS),
    output:
        "results/embeddings.parquet",
    log:
        "logs/merge_embeddings.log",
    benchmark:
        "benchmarks/merge_embeddings.tsv"
    threads: 1
    conda:
        "../envs/titans-seq.yaml"
    script:
        "../scripts/merge_embeddings.py"


rule report:
    input:
        annotations=expand("results/annotations/{assembly}.gff3", assembly=ASSEMBLIES),
        embeddings="results/embeddings.parquet",
    output:
        page="results/report.html",
        table="results/genes.tsv",
        genes="results/genes.png",
        map="results/embeddings.png",
    params:
        assemblies=list(ASSEMBLIES),
    log:
        "logs/report.log",
    benchmark:
        "benchmarks/report.tsv"
    threads: 1
    conda:
        "../envs/titans-seq.yaml"
    script:
        "../scripts/report.py"
