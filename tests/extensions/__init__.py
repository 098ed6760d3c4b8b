"""Tests of extension points, with a package that uses them."""
