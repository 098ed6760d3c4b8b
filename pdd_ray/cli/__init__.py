"""The command line: options and text; calls the Python interface and imports no room below it.

Data goes to stdout, messages to stderr, errors are lines.
"""
