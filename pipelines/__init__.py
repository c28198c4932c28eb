"""One readable file per job; installed as `titans_seq.pipelines` and found by name by the command line."""
