# One backtest for each table and setting; then everything on one page.
rule backtest:
    input:
        lambda wildcards: TABLES[wildcards.data],
    output:
        report="results/backtests/{data}/{setting}/report.json",
        forecasts="results/backtests/{data}/{setting}/forecasts.csv",
    params:
        out=lambda wildcards, output: str(Path(output.report).parent),
        setting=lambda wildcards: config["settings"][wildcards.setting],
        table=lambda wildcards: config["tables"].get(wildcards.data, ""),
    log:
        "logs/backtest/{data}.{setting}.log",
    benchmark:
        "benchmarks/backtest/{data}.{setting}.tsv"
    threads: config["threads"]
    resources:
        mem_mb=config["memory_mb"],
        runtime=config["runtime_minutes"],
    conda:
        "../envs/titans-seq.yaml"
    shell:
        # snakemake has made the folder already, and a backtest begins in a new one
        "rm -rf {params.out}; OMP_NUM_THREADS={threads} "
        "titans-seq backtest {input} {params.table} {params.setting} --out {params.out} > {log} 2>&1"


rule panel:
    input:
        expand("results/backtests/{data}/{setting}/report.json", data=TABLES, setting=config["settings"]),
    output:
        page="results/report.html",
        scores="results/scores.csv",
        intervals="results/intervals.csv",
        picture="results/scores.png",
    log:
        "logs/panel.log",
    benchmark:
        "benchmarks/panel.tsv"
    threads: 1
    conda:
        "../envs/titans-seq.yaml"
    script:
        "../scripts/panel.py"
