"""Tests of the methods that make a stage."""
