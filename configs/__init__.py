"""One self-contained YAML per preset; installed as `titans_seq.configs`."""
