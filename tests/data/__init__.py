"""Tests of pdd_ray.data."""
