# One pass of a model over a shard of an assembly: genes, vectors; and a track over the whole assembly.
rule annotate:
    input:
        genome=lambda wildcards: ASSEMBLIES[wildcards.assembly]["genome"],
        model=regions_model,
    output:
        temp("results/parts/{assembly}.{tag}.gff3"),
    params:
        shard=shard_option,
        out=written,
    log:
        "logs/annotate/{assembly}.{tag}.log",
    benchmark:
        "benchmarks/annotate/{assembly}.{tag}.tsv"
    threads: config["threads"]["read"]
    resources:
        mem_mb=config["memory_mb"]["read"],
        runtime=config["runtime_minutes"]["read"],
    conda:
        "../envs/titans-seq.yaml"
    shell:
        "titans-seq annotate {input.genome} --model {input.model} --threads {threads} {params.shard} "
        "-o {params.out} > {log} 2>&1"


rule embed:
    input:
        genome=lambda wildcards: ASSEMBLIES[wildcards.assembly]["genome"],
        model=dna_model,
    output:
        temp("results/parts/{assembly}.{tag}.parquet"),
    params:
        shard=shard_option,
        out=written,
        window=config["window"],
        stride=config["stride"],
        context=config["context"],
    log:
        "logs/embed/{assembly}.{tag}.log",
    benchmark:
        "benchmarks/embed/{assembly}.{tag}.tsv"
    threads: config["threads"]["read"]
    resources:
        mem_mb=config["memory_mb"]["read"],
        runtime=config["runtime_minutes"]["read"],
    conda:
        "../envs/titans-seq.yaml"
    shell:
        "titans-seq embed {input.genome} --model {input.model} --window {params.window} --stride {params.stride} "
        "--context {params.context} --threads {threads} {params.shard} -o {params.out} > {log} 2>&1"


rule surprise:
    input:
        genome=lambda wildcards: ASSEMBLIES[wildcards.assembly]["genome"],
        model=dna_model,
    output:
        "results/tracks/{assembly}.bw",
    log:
        "logs/surprise/{assembly}.log",
    benchmark:
        "benchmarks/surprise/{assembly}.tsv"
    threads: config["threads"]["read"]
    resources:
        mem_mb=config["memory_mb"]["read"],
        runtime=config["runtime_minutes"]["read"],
    conda:
        "../envs/titans-seq.yaml"
    shell:
        "titans-seq surprise {input.genome} --model {input.model} --threads {threads} -o {output} > {log} 2>&1"
