# What the rules ask of the configuration.
def tables(folder):
    """The tables of the folder by name; a name that two files share is refused, as results would overwrite each other."""
    found = {}
    for path in sorted(Path(folder).iterdir()):
        if path.name.endswith((".csv", ".csv.gz", ".parquet")):
            name = path.name.split(".")[0]
            if name in found:
                raise WorkflowError(f"{path}: expected names that differ before the first dot; {found[name]} has it too")
            found[name] = str(path)
    if not found:
        raise WorkflowError(f"{folder}: expected .csv, .csv.gz or .parquet files, found none")
    return found
