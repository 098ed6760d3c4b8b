"""Augmentations: differentiable siamese ones, those of DC's evaluation, CutMix."""
