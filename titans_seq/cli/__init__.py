"""The `titans-seq` command."""
