"""Tests of pdd_ray.training.augmentation."""
