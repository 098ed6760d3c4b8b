"""What a store knows of sweeps that were run on it: states, tables, plots, pictures, pages.

Imports the rooms below it (``pdd_ray.core`` to ``pdd_ray.runtime``) and the analysis; no torch.
"""
