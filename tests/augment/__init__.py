"""Tests of pdd_ray.augment."""
