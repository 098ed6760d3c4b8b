"""Tests of pdd_ray.api."""
