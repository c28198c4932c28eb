# What the rules ask of the sheet and the configuration.
ANNOTATED = [row for row in ASSEMBLIES.values() if row["annotation"]]


def regions_model(wildcards):
    return config["regions_model"] or "results/models/regions/model.safetensors"


def dna_model(wildcards):
    return config["dna_model"] or "results/models/dna/model.safetensors"


def shard_option(wildcards):
    return "" if wildcards.tag == "whole" else f"--shard {wildcards.tag.replace('-of-', '/')}"


def written(wildcards, output):
    """What is given as -o: with --shard the command puts the number of the part into the name itself."""
    return output[0].replace(f".{wildcards.tag}.", ".") if wildcards.tag != "whole" else output[0]
