"""Conformance with what the reference implementations compute."""
