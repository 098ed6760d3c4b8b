"""The console script ``pdd-ray``: data on stdout, messages on stderr, errors as lines."""
