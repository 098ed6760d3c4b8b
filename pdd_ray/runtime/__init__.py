"""Executing steps on Ray: the only package that imports it."""
