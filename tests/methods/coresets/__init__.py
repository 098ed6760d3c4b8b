"""Tests of the selection of real images."""
