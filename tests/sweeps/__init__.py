"""Tests of the sweeps that come with the package."""
