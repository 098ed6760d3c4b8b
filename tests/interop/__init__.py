"""Tests of pdd_ray.interop."""
