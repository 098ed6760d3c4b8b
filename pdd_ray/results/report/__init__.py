"""One self-contained HTML page about a sweep, from its store alone, also while it runs.

Imports what its neighbours in ``pdd_ray.results`` may.
"""
