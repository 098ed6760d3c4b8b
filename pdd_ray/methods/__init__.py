"""Distillation methods, and the step that runs one; imports ``pdd_ray.training`` and below."""
