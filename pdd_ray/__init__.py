"""Progressive dataset distillation on Ray.

Importing this package loads neither torch nor Ray; the modules that compute import them.
"""

__version__ = "0.1.0"
