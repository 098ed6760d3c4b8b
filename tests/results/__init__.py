"""Tests of pdd_ray.results."""
