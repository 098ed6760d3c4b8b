"""Tests of sweep files."""
