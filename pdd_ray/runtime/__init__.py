"""Executing steps on Ray: the only room that imports it; knows ``pdd_ray.core`` and no more."""
