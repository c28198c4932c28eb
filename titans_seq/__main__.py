"""`python -m titans_seq` is the same command as `titans-seq`."""

from titans_seq.cli import main

if __name__ == "__main__":
    main()
