"""Distillation methods: what makes the images of one stage."""
