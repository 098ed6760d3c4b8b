"""One self-contained HTML page about a sweep, made from its store alone, also while it runs."""
