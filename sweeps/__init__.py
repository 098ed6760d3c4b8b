"""Sweep files: what is run, and nothing that computes."""
