"""Tests of the plan of a sweep."""
