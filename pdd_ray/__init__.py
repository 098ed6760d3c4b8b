"""Progressive dataset distillation on Ray.

Importing this package loads neither torch nor Ray; the modules that compute import them.
"Specification, section X" in docstrings is that section of docs/specification.md.
"""

__version__ = "0.1.0"
