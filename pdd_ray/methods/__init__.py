"""Distillation methods, and the step that makes the images of one stage with one of them."""
