"""The commands as functions: from a sweep to its results."""
