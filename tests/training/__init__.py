"""Tests of training on real and synthetic images."""
