"""Tests of pdd_ray.models."""
